package ownership

import (
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"
)

// form is how the values of a type are owned.
type form uint8

const (
	leaf      form = iota // as a whole
	structure             // by field
	texts                 // a map of strings, by key
	mapping               // any other map, by key
	list                  // a list, by the keys of its items or their values
)

// plan says how values of one Go type are walked. Plans are made as their
// types are met, once, and never change; values are addressed by pointers to
// them, as the type has them, so that nothing is boxed on the way.
type plan struct {
	typ    reflect.Type // without pointers
	depth  int          // how many pointers lead to the value
	form   form
	atomic bool // owned as a whole, whatever the form

	fields []*field // of a structure, by name
	elem   *plan    // of a list or a map
	keys   []key    // of a list; none: its items are their own keys
	keyed  bool     // a list whose items are owned one by one

	// single is a value that writes its own JSON, raw one that may be anything.
	single, raw bool

	// equal compares two values that are not null, as JSON shows them.
	equal func(a, b unsafe.Pointer) bool
	// null tells whether a value shows as null in JSON though it has no pointer.
	null func(p unsafe.Pointer) bool
}

// field is one field of a structure; those of inlined structures are its own.
type field struct {
	name, element string // "spec" and "f:spec"
	offset        uintptr
	width         uint8                       // of what is left out when all of it is zero; 0: see omit
	omit          func(p unsafe.Pointer) bool // nil: it always shows
	typ           reflect.Type
	rule          string
	lazy          atomic.Pointer[plan]
}

// key is a field that tells the items of a list apart.
type key struct {
	name     string
	fallback *string // what it is when it is left out
	field    *field
}

// plans are all the plans that were made so far.
type plans struct {
	structs sync.Map  // reflect.Type -> *plan
	spare   sync.Pool // *comparison
}

// plan returns how values of the type are walked where the rule holds.
func (s *plans) plan(t reflect.Type, rule string) *plan {
	depth := 0
	for t.Kind() == reflect.Pointer {
		t, depth = t.Elem(), depth+1
	}
	if depth == 0 && rule == "" && t.Kind() == reflect.Struct {
		if p, ok := s.structs.Load(t); ok {
			return p.(*plan)
		}
		p, _ := s.structs.LoadOrStore(t, s.make(t, ""))
		return p.(*plan)
	}
	if depth > 0 {
		p := *s.plan(t, rule)
		p.depth = depth
		return &p
	}
	return s.make(t, rule)
}

func (s *plans) make(t reflect.Type, rule string) *plan {
	p := &plan{typ: t, atomic: rule == "atomic"}
	if special(p) {
		return p
	}
	switch t.Kind() {
	case reflect.Struct:
		p.form = structure
		rules := rulesOf(t)
		p.atomic = p.atomic || rules[""] == "atomic" && rule != "granular"
		p.fields = fieldsOf(t, 0, rules)
		slices.SortFunc(p.fields, func(a, b *field) int { return strings.Compare(a.name, b.name) })
		p.equal = func(a, b unsafe.Pointer) bool { return s.sameFields(p, a, b) }
	case reflect.Map:
		p.form = mapping
		p.elem = s.plan(t.Elem(), "")
		p.equal = func(a, b unsafe.Pointer) bool { return s.sameMap(p, a, b) }
		if t.Key().Kind() == reflect.String && t.Elem().Kind() == reflect.String {
			p.form = texts
			p.equal = sameStrings
		}
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			p.equal = same[string] // which a slice of bytes starts as
			p.null = func(v unsafe.Pointer) bool { return (*header)(v).data == nil }
			break
		}
		p.form = list
		p.elem = s.plan(t.Elem(), "")
		p.keyed = rule != "" && rule != "atomic"
		if p.keyed && rule != "set" {
			p.keys = keysOf(s.plan(p.elem.typ, ""), rule)
		}
		p.atomic = !p.keyed
		p.equal = func(a, b unsafe.Pointer) bool { return s.sameList(p, a, b) }
	default:
		p.equal = scalar(t)
	}
	return p
}

// of returns the plan of a field's values.
func (s *plans) of(f *field) *plan {
	if p := f.lazy.Load(); p != nil {
		return p
	}
	p := s.plan(f.typ, f.rule)
	f.lazy.Store(p)
	return p
}

func fieldsOf(t reflect.Type, offset uintptr, rules map[string]string) (fields []*field) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-" || !f.IsExported():
		case hasOption(options, "inline") || f.Anonymous && name == "":
			fields = append(fields, fieldsOf(f.Type, offset+f.Offset, rules)...)
		default:
			if name == "" {
				name = f.Name
			}
			n := &field{name: name, element: "f:" + name, offset: offset + f.Offset, typ: f.Type, rule: rules[name]}
			var omits []func(unsafe.Pointer) bool
			if e := empty(f.Type); e != nil && hasOption(options, "omitempty") {
				omits = append(omits, e)
			}
			if hasOption(options, "omitzero") {
				omits = append(omits, zero(f.Type))
			}
			switch len(omits) {
			case 1:
				n.omit = omits[0]
				switch f.Type.Kind() {
				case reflect.Pointer, reflect.Bool, reflect.Int32, reflect.Int64:
					if hasOption(options, "omitempty") {
						n.width = uint8(f.Type.Size())
					}
				}
			case 2:
				n.omit = func(p unsafe.Pointer) bool { return omits[0](p) || omits[1](p) }
			}
			fields = append(fields, n)
		}
	}
	return fields
}

func hasOption(options, name string) bool {
	for o := range strings.SplitSeq(options, ",") {
		if o == name {
			return true
		}
	}
	return false
}

// keysOf reads a rule such as "port,protocol:TCP", by the order of the names.
func keysOf(item *plan, rule string) (keys []key) {
	for k := range strings.SplitSeq(rule, ",") {
		name, fallback, has := strings.Cut(k, ":")
		n := key{name: name}
		if has {
			n.fallback = &fallback
		}
		for i := range item.fields {
			if item.fields[i].name == name {
				n.field = item.fields[i]
			}
		}
		if n.field != nil {
			keys = append(keys, n)
		}
	}
	slices.SortFunc(keys, func(a, b key) int { return strings.Compare(a.name, b.name) })
	return keys
}

// at returns the field's value of a structure at p, or nil if it is left out.
func (f *field) at(p unsafe.Pointer) unsafe.Pointer {
	if p == nil || p == null {
		return nil
	}
	q := unsafe.Add(p, f.offset)
	switch f.width {
	case 8:
		if *(*uint64)(q) == 0 {
			return nil
		}
	case 4:
		if *(*uint32)(q) == 0 {
			return nil
		}
	case 1:
		if *(*uint8)(q) == 0 {
			return nil
		}
	default:
		if f.omit != nil && f.omit(q) {
			return nil
		}
	}
	return q
}

// null stands for a value that is there but null.
var null = unsafe.Pointer(new(int64))

// follow returns where the value is that p leads to: nil, null, or itself.
func (p *plan) follow(v unsafe.Pointer) unsafe.Pointer {
	if v == nil || v == null {
		return v
	}
	for range p.depth {
		if v = *(*unsafe.Pointer)(v); v == nil {
			return null
		}
	}
	switch p.form {
	case mapping, texts:
		if *(*unsafe.Pointer)(v) == nil {
			return null
		}
	case list:
		if (*header)(v).data == nil {
			return null
		}
	}
	if p.null != nil && p.null(v) {
		return null
	}
	return v
}

// header is what a slice is.
type header struct {
	data     unsafe.Pointer
	len, cap int
}
