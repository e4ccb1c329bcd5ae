package validate

import (
	"fmt"
	"iter"
	"maps"
	"slices"

	"clipper/internal/cel"

	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/api/validation/path"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// problems gathers what is wrong with an object, in the order it is found.
type problems struct {
	list field.ErrorList
	// cel compiles expressions; those that the object held before are stored.
	cel    *cel.Compiler
	stored storedExpressions
	work   int            // what it took to compile them
	old    runtime.Object // what is replaced, or nil
	// warnings are what was found besides, of what is allowed.
	warnings []string
}

func (e *problems) add(errs ...*field.Error) { e.list = append(e.list, errs...) }

func (e *problems) all(errs field.ErrorList) { e.list = append(e.list, errs...) }

func (e *problems) invalid(at *field.Path, value any, text string) {
	e.add(field.Invalid(at, value, text))
}

func (e *problems) required(at *field.Path, detail string) { e.add(field.Required(at, detail)) }

func (e *problems) forbidden(at *field.Path, detail string) { e.add(field.Forbidden(at, detail)) }

// texts adds an error for each text that a check of a value returned.
func (e *problems) texts(at *field.Path, value any, texts []string) {
	for _, text := range texts {
		e.invalid(at, value, text)
	}
}

// check adds what a check says of a child field.
func (e *problems) check(parent *field.Path, name, value string, check func(string) []string) {
	if texts := check(value); len(texts) > 0 {
		e.texts(parent.Child(name), value, texts)
	}
}

// given adds an error if a child field is empty, and tells whether it is not.
func (e *problems) given(parent *field.Path, name, value string) bool {
	if value == "" {
		e.required(parent.Child(name), "")
		return false
	}
	return true
}

// notLonger checks how many bytes a text has. The error does not show it.
func (e *problems) notLonger(at *field.Path, text string, most int) {
	if len(text) > most {
		e.add(field.TooLong(at, "", most))
	}
}

// sized is notLonger of a text that must not be empty, and tells whether it is not.
func (e *problems) sized(at *field.Path, text string, most int) bool {
	if text == "" {
		e.required(at, "")
		return false
	}
	e.notLonger(at, text, most)
	return true
}

// checked is given and check.
func (e *problems) checked(parent *field.Path, name, value string, check func(string) []string) {
	if e.given(parent, name, value) {
		e.check(parent, name, value, check)
	}
}

// oneOf checks that a child field has one of the supported values, in the
// order in which the error lists them.
func oneOf[T ~string](e *problems, parent *field.Path, name string, value T, supported ...T) {
	if !slices.Contains(supported, value) {
		e.add(field.NotSupported(parent.Child(name), value, supported))
	}
}

// givenOneOf is oneOf of a field that must not be empty.
func givenOneOf[T ~string](e *problems, parent *field.Path, name string, value T, supported ...T) {
	if value == "" {
		e.required(parent.Child(name), "")
		return
	}
	oneOf(e, parent, name, value, supported...)
}

// optionalOneOf is oneOf of a field that may be left out.
func optionalOneOf[T ~string](e *problems, parent *field.Path, name string, value *T, supported ...T) {
	if value != nil {
		oneOf(e, parent, name, *value, supported...)
	}
}

// notNegative checks a child field.
func (e *problems) notNegative(parent *field.Path, name string, value int64) {
	if value < 0 {
		e.add(field.Invalid(parent.Child(name), value, apivalidation.IsNegativeErrorMsg).WithOrigin("minimum"))
	}
}

// immutable checks that a child field is as it was. equal says whether it is.
func (e *problems) immutable(parent *field.Path, name string, value any, equal bool) {
	if !equal {
		e.add(field.Invalid(parent.Child(name), value, apivalidation.FieldImmutableErrorMsg).WithOrigin("immutable"))
	}
}

func dnsSubdomain(name string) []string { return validation.IsDNS1123Subdomain(name) }

// longName is what is wrong with the name of a kind whose names are judged by
// its schema, which counts bytes, and does not look at what names begin with.
func longName(name string, prefix bool) []string {
	if prefix {
		return path.ValidatePathSegmentName(name, prefix)
	}
	texts := apivalidation.NameIsDNSSubdomain(name, prefix)
	for i, text := range texts {
		if text == validation.MaxLenError(validation.DNS1123SubdomainMaxLength) {
			texts[i] = fmt.Sprintf("must be no more than %d bytes", validation.DNS1123SubdomainMaxLength)
		}
	}
	return texts
}

func dnsLabel(name string) []string { return validation.IsDNS1123Label(name) }

// sorted iterates over a map by its keys, so that errors come in the same order
// each time.
func sorted[K ~string, V any](m map[K]V) iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		for _, k := range slices.Sorted(maps.Keys(m)) {
			if !yield(k, m[k]) {
				return
			}
		}
	}
}
