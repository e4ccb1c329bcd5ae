package ownership

import (
	"encoding/json"
	"reflect"
	"slices"
	"strconv"
	"unsafe"
)

// changes are what tells two objects apart.
type changes struct {
	removed, modified, added set
}

func (c *changes) none() bool {
	return c.removed.empty() && c.modified.empty() && c.added.empty()
}

// comparison walks two objects side by side.
type comparison struct {
	*plans
	changes
	path []string
}

// compare finds what changed from an object to another of its type. Fields in
// except, and all below them, are passed over. It is released after use.
func (s *plans) compare(p *plan, from, to unsafe.Pointer, except *set) *comparison {
	c, _ := s.spare.Get().(*comparison)
	if c == nil {
		c = &comparison{plans: s, path: make([]string, 0, 16)}
	}
	c.value(p, from, to, except)
	return c
}

func (c *comparison) release() {
	c.removed.clear()
	c.modified.clear()
	c.added.clear()
	c.spare.Put(c)
}

func (c *comparison) field(element string, p *plan, a, b unsafe.Pointer, except *set) {
	except = except.get(element)
	if except != nil && except.member {
		return
	}
	c.path = append(c.path, element)
	c.value(p, a, b, except)
	c.path = c.path[:len(c.path)-1]
}

// value compares two values of one place, of which one may be nil: not there.
// What is there on one side only is named itself, and so is all below it.
func (c *comparison) value(p *plan, a, b unsafe.Pointer, except *set) {
	a, b = p.follow(a), p.follow(b)
	if a == b {
		return
	}
	if p.form == leaf || p.atomic || c.void(p, a) && c.void(p, b) {
		switch {
		case a == nil:
			c.added.add(c.path)
		case b == nil:
			c.removed.add(c.path)
		case a == null || b == null || !p.equal(a, b):
			c.modified.add(c.path)
		}
		return
	}
	switch p.form {
	case structure:
		c.structure(p, a, b, except)
	case texts:
		c.texts(a, b)
	case mapping:
		c.mapping(p, a, b)
	case list:
		c.list(p, a, b)
	}
	if a == nil {
		c.added.add(c.path)
	} else if b == nil {
		c.removed.add(c.path)
	}
}

// void tells whether a value that is owned by its parts has none.
func (c *comparison) void(p *plan, v unsafe.Pointer) bool {
	if v == nil || v == null {
		return true
	}
	switch p.form {
	case structure:
		for i := range p.fields {
			if p.fields[i].at(v) != nil {
				return false
			}
		}
		return true
	case texts:
		return len(*(*map[string]string)(v)) == 0
	case mapping:
		return reflect.NewAt(p.typ, v).Elem().Len() == 0
	}
	return (*header)(v).len == 0
}

func (c *comparison) structure(p *plan, a, b unsafe.Pointer, except *set) {
	for _, f := range p.fields {
		x, y := f.at(a), f.at(b)
		if x == nil && y == nil {
			continue
		}
		c.field(f.element, c.of(f), x, y, except)
	}
}

func (c *comparison) texts(a, b unsafe.Pointer) {
	var x, y map[string]string
	if a != nil && a != null {
		x = *(*map[string]string)(a)
	}
	if b != nil && b != null {
		y = *(*map[string]string)(b)
	}
	for k, v := range y {
		if w, ok := x[k]; !ok {
			c.name(&c.added, "f:"+k)
		} else if v != w {
			c.name(&c.modified, "f:"+k)
		}
	}
	for k := range x {
		if _, ok := y[k]; !ok {
			c.name(&c.removed, "f:"+k)
		}
	}
}

// name adds the element below the path.
func (c *comparison) name(s *set, element string) {
	c.path = append(c.path, element)
	s.add(c.path)
	c.path = c.path[:len(c.path)-1]
}

func (c *comparison) mapping(p *plan, a, b unsafe.Pointer) {
	x, y := mapAt(p, a), mapAt(p, b)
	each := func(m, other reflect.Value, both bool) {
		if !m.IsValid() {
			return
		}
		for it := m.MapRange(); it.Next(); {
			var o reflect.Value
			if other.IsValid() {
				o = other.MapIndex(it.Key())
			}
			if o.IsValid() && !both {
				continue
			}
			v, w := newCell(p), newCell(p)
			v.Set(it.Value())
			from := unsafe.Pointer(nil)
			if o.IsValid() {
				w.Set(o)
				from = w.Addr().UnsafePointer()
				if c.same(p.elem, v.Addr().UnsafePointer(), from) {
					continue
				}
			}
			element := "f:" + it.Key().String()
			if both {
				c.field(element, p.elem, from, v.Addr().UnsafePointer(), nil)
			} else {
				c.field(element, p.elem, v.Addr().UnsafePointer(), nil, nil)
			}
		}
	}
	each(y, x, true)
	each(x, y, false)
}

func mapAt(p *plan, v unsafe.Pointer) reflect.Value {
	if v == nil || v == null {
		return reflect.Value{}
	}
	return reflect.NewAt(p.typ, v).Elem()
}

// item is an item of a list by its key. Of items that share a key the first is
// kept, and how many they are.
type item struct {
	key   string
	value unsafe.Pointer
	twins int
}

func (c *comparison) list(p *plan, a, b unsafe.Pointer) {
	if a != nil && b != nil && a != null && b != null && c.inPlace(p, a, b) {
		return
	}
	from, to := c.items(p, a), c.items(p, b)
	find := func(items []item, key string) *item {
		if i, ok := slices.BinarySearchFunc(items, key, func(i item, k string) int { return order(i.key, k) }); ok {
			return &items[i]
		}
		return nil
	}
	for i := range to {
		n, o := &to[i], find(from, to[i].key)
		switch {
		case o == nil && n.twins == 0:
			c.field(n.key, p.elem, nil, n.value, nil)
		case o != nil && o.twins == 0 && n.twins == 0:
			c.field(n.key, p.elem, o.value, n.value, nil)
		case o != nil && o.twins > 0 && n.twins > 0:
			if !c.sameTwins(p, o, n, a, b) {
				c.name(&c.modified, n.key)
			}
		case o != nil && o.twins > 0: // alike items became one
			c.field(n.key, p.elem, nil, n.value, nil)
			c.name(&c.removed, n.key)
		default: // one became alike items
			if o != nil {
				c.field(n.key, p.elem, o.value, nil, nil)
			}
			c.name(&c.added, n.key)
		}
	}
	for i := range from {
		o := &from[i]
		if find(to, o.key) != nil {
			continue
		}
		if o.twins > 0 {
			c.name(&c.removed, o.key)
		} else {
			c.field(o.key, p.elem, o.value, nil, nil)
		}
	}
}

// inPlace compares lists whose items have the keys that they had, each where it
// was and none twice, which is how most lists change; it tells whether they are.
func (c *comparison) inPlace(p *plan, a, b unsafe.Pointer) bool {
	x, y := (*header)(a), (*header)(b)
	if x.len != y.len || x.len > 64 { // by keys, a long list costs less
		return false
	}
	size := p.size()
	changed := false
	for i := range uintptr(x.len) {
		v, w := unsafe.Add(x.data, i*size), unsafe.Add(y.data, i*size)
		if c.same(p.elem, v, w) {
			continue
		}
		if !c.sameKey(p, v, w) {
			return false
		}
		changed = true
	}
	for i := range uintptr(x.len) {
		for j := range i {
			if changed && c.sameKey(p, unsafe.Add(x.data, i*size), unsafe.Add(x.data, j*size)) {
				return false
			}
		}
	}
	var text []byte
	for i := range uintptr(x.len) {
		v, w := unsafe.Add(x.data, i*size), unsafe.Add(y.data, i*size)
		if changed && !c.same(p.elem, v, w) {
			text = c.key(text[:0], p, v)
			c.field(string(text), p.elem, v, w, nil)
		}
	}
	return true
}

func (c *comparison) sameKey(p *plan, v, w unsafe.Pointer) bool {
	v, w = p.elem.follow(v), p.elem.follow(w)
	for i := range p.keys {
		f := p.keys[i].field
		if !c.same(c.of(f), f.at(v), f.at(w)) {
			return false
		}
	}
	return len(p.keys) > 0 || c.same(p.elem, v, w)
}

func order(a, b string) int {
	switch {
	case a == b:
		return 0
	case before(a, b):
		return -1
	}
	return 1
}

// items returns a list's items by their keys.
func (c *comparison) items(p *plan, v unsafe.Pointer) []item {
	if v == nil || v == null {
		return nil
	}
	h := (*header)(v)
	items := make([]item, 0, h.len)
	size := p.size()
	var text []byte
	for i := range uintptr(h.len) {
		at := unsafe.Add(h.data, i*size)
		text = c.key(text[:0], p, at)
		items = append(items, item{key: string(text), value: at})
	}
	slices.SortStableFunc(items, func(a, b item) int { return order(a.key, b.key) })
	n := 0
	for i := range items {
		if n > 0 && items[n-1].key == items[i].key {
			items[n-1].twins++
			continue
		}
		items[n] = items[i]
		n++
	}
	return items[:n]
}

// sameTwins tells whether the items of a key are the same in both lists.
func (c *comparison) sameTwins(p *plan, x, y *item, a, b unsafe.Pointer) bool {
	if x.twins != y.twins {
		return false
	}
	of := func(v unsafe.Pointer) (all []unsafe.Pointer) {
		h := (*header)(v)
		for i := range uintptr(h.len) {
			if at := unsafe.Add(h.data, i*p.size()); string(c.key(nil, p, at)) == x.key {
				all = append(all, at)
			}
		}
		return all
	}
	return slices.EqualFunc(of(a), of(b), func(v, w unsafe.Pointer) bool { return c.same(p.elem, v, w) })
}

// key appends the element that stands for an item of a list.
func (c *comparison) key(dst []byte, p *plan, v unsafe.Pointer) []byte {
	v = p.elem.follow(v)
	if len(p.keys) == 0 {
		return appendScalar(append(dst, "v:"...), p.elem.typ, v)
	}
	dst = append(dst, "k:{"...)
	for i := range p.keys {
		k := &p.keys[i]
		kp := c.of(k.field)
		at := kp.follow(k.field.at(v))
		if at == nil && k.fallback == nil {
			continue
		}
		if dst[len(dst)-1] != '{' {
			dst = append(dst, ',')
		}
		dst = append(appendText(dst, k.name), ':')
		if at == nil {
			dst = appendText(dst, *k.fallback)
		} else {
			dst = appendScalar(dst, kp.typ, at)
		}
	}
	return append(dst, '}')
}

// appendScalar writes a value without parts as JSON.
func appendScalar(dst []byte, t reflect.Type, v unsafe.Pointer) []byte {
	if v == nil || v == null {
		return append(dst, "null"...)
	}
	switch t.Kind() {
	case reflect.String:
		return appendText(dst, *(*string)(v))
	case reflect.Int32:
		return strconv.AppendInt(dst, int64(*(*int32)(v)), 10)
	case reflect.Int64, reflect.Int:
		return strconv.AppendInt(dst, *(*int64)(v), 10)
	case reflect.Bool:
		return strconv.AppendBool(dst, *(*bool)(v))
	}
	b, err := json.Marshal(reflect.NewAt(t, v).Interface())
	if err != nil {
		return append(dst, "null"...)
	}
	return append(dst, b...)
}
