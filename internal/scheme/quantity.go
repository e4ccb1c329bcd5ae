package scheme

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"
)

// A quantity such as 1e-999999999 is a few bytes to send, and ages and all the
// memory there is to calculate with, from the moment it is decoded. So bodies
// are searched for one before that: a scan says whether there is anything that
// looks like it, which next to none has; only then is the body walked, along
// the type that it is decoded into, to tell quantities from all else.
const (
	longestQuantity  = 128 // bytes
	longestExponent  = 2   // digits
	deepestQuantity  = 64  // levels of values: no type of the table is as deep
	shortestSuspect  = longestExponent + 1
	longestInnocents = 64 // digits in a row
)

var quantityType = reflect.TypeFor[resource.Quantity]()

// CheckConfig refuses a configuration, JSON or YAML, of objects like obj, that
// is too deep, or has a quantity that is one to choke on.
func CheckConfig(obj runtime.Object, config []byte) error {
	deep := recursive(obj)
	// Escapes and tags of YAML can hide what is there.
	if !deep && !suspect(config) && !bytes.ContainsAny(config, `\!`) {
		return nil
	}
	text, err := yaml.YAMLToJSON(config)
	if err != nil {
		return nil // whoever decodes it says so
	}
	if deep {
		if err := checkDepth(text); err != nil {
			return err
		}
	}
	return checkQuantities(reflect.TypeOf(obj), text)
}

// suspect tells whether there are many digits in a row, or some after an e.
func suspect(b []byte) bool {
	// Of that many digits in a row one is where it is looked.
	for i := shortestSuspect - 1; i < len(b); i += shortestSuspect {
		if !isDigit(b[i]) {
			continue
		}
		start, end := i, i+1
		for start > 0 && isDigit(b[start-1]) {
			start--
		}
		for end < len(b) && isDigit(b[end]) {
			end++
		}
		if end-start > longestInnocents {
			return true
		}
		if end-start >= shortestSuspect && start > 0 {
			before := b[start-1]
			if (before == '+' || before == '-') && start > 1 {
				before = b[start-2]
			}
			if before == 'e' || before == 'E' {
				return true
			}
		}
		i = end
	}
	return false
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func checkQuantity(s string) error {
	shown := s
	if len(s) > 32 {
		shown = s[:32] + "..."
	}
	if len(s) > longestQuantity {
		return fmt.Errorf("quantity %q is too long: it may have %d characters", shown, longestQuantity)
	}
	at := strings.IndexAny(s, "eE")
	if at < 0 {
		return nil
	}
	digits := strings.TrimLeft(strings.TrimLeft(strings.TrimSpace(s[at+1:]), "+-"), "0")
	if _, err := strconv.ParseUint(digits, 10, 64); err == nil && len(digits) > longestExponent || errors.Is(err, strconv.ErrRange) {
		return fmt.Errorf("quantity %q is out of range: its exponent may have %d digits", shown, longestExponent)
	}
	return nil
}

// checkQuantities checks the quantities of a JSON text that is to be decoded
// into the type. Of a text that is no JSON it has nothing to say.
func checkQuantities(t reflect.Type, text []byte) error {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	err := walkQuantities(dec, t, 0)
	if bad := (*badQuantity)(nil); errors.As(err, &bad) {
		return bad.error
	}
	return nil
}

// badQuantity is the one error of a walk that is not about its syntax.
type badQuantity struct{ error }

var errTooDeep = errors.New("too deep for a quantity")

// walkQuantities reads one value; all of its occurrences count where a key is
// given twice. A nil type is one without quantities.
func walkQuantities(dec *json.Decoder, t reflect.Type, depth int) error {
	if depth > deepestQuantity {
		return errTooDeep
	}
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	tok, err := dec.Token()
	if err != nil {
		return err
	}
	switch tok := tok.(type) {
	case json.Delim:
		for dec.More() {
			var of reflect.Type
			if tok == '{' {
				key, err := dec.Token()
				if err != nil {
					return err
				}
				if t != quantityType {
					of = valueType(t, key.(string))
				}
			} else if t != nil && t.Kind() == reflect.Slice {
				of = t.Elem()
			}
			if err := walkQuantities(dec, of, depth+1); err != nil {
				return err
			}
		}
		_, err := dec.Token()
		return err
	case string:
		if t == quantityType {
			if err := checkQuantity(tok); err != nil {
				return &badQuantity{err}
			}
		}
	case json.Number:
		if t == quantityType {
			if err := checkQuantity(tok.String()); err != nil {
				return &badQuantity{err}
			}
		}
	}
	return nil
}

// valueType returns the type of what an object's JSON has under a key, or nil.
func valueType(t reflect.Type, key string) reflect.Type {
	switch {
	case t == nil:
		return nil
	case t.Kind() == reflect.Map:
		return t.Elem()
	case t.Kind() != reflect.Struct:
		return nil
	}
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == key && name != "" {
			return f.Type
		}
		if f.Anonymous && (name == "" || options == "inline") {
			in := f.Type
			if in.Kind() == reflect.Pointer {
				in = in.Elem()
			}
			if of := valueType(in, key); of != nil {
				return of
			}
		}
	}
	return nil
}

// checkMessage checks the quantities of a protobuf message that is to be
// decoded into the type.
func checkMessage(t reflect.Type, b []byte) error {
	return walkMessage(t, b, 0, func(of reflect.Type, v []byte) error {
		if of == quantityType {
			return checkQuantity(string(v))
		}
		return nil
	})
}

// messageField returns the type of a protobuf message's field, or nil.
func messageField(t reflect.Type, number uint64) reflect.Type {
	want := strconv.FormatUint(number, 10)
	for i := range t.NumField() {
		f := t.Field(i)
		_, rest, _ := strings.Cut(f.Tag.Get("protobuf"), ",")
		if got, _, _ := strings.Cut(rest, ","); got != want {
			continue
		}
		if f.Type.Kind() != reflect.Map {
			return f.Type
		}
		// An entry of a map is a message of a key and a value.
		return reflect.StructOf([]reflect.StructField{{Name: "Value", Type: f.Type.Elem(), Tag: `protobuf:"bytes,2"`}})
	}
	return nil
}
