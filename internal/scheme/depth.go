package scheme

import (
	"encoding/binary"
	"errors"
	"reflect"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// deepestSchema is how many levels a value of a type that holds itself may
// have. Deeper ones would take the whole stack to decode as protobuf, which
// ends the process, and time that grows with the square as JSON.
const deepestSchema = 256

var errDepth = errors.New("exceeded max depth")

// recursive tells whether values of a type can be of any depth: of all kinds
// only those that hold JSON schemas.
func recursive(obj any) bool {
	_, ok := obj.(*apiextensionsv1.CustomResourceDefinition)
	return ok
}

// checkDepth bounds the depth of a JSON text, whether or not it is correct.
func checkDepth(text []byte) error {
	depth, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > deepestSchema {
				return errDepth
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return nil
}

// checkMessageDepth bounds the depth of a protobuf message of the type.
func checkMessageDepth(t reflect.Type, b []byte) error {
	return walkMessage(t, b, 0, func(reflect.Type, []byte) error { return nil })
}

// walkMessage calls f with the type and the bytes of each length-delimited
// field of a message, and of those within it. Where the bytes are no message
// it ends: whoever decodes them says what is wrong.
func walkMessage(t reflect.Type, b []byte, depth int, f func(of reflect.Type, v []byte) error) error {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return nil
	}
	if depth > deepestSchema {
		return errDepth
	}
	for len(b) > 0 {
		tag, n := binary.Uvarint(b)
		if n <= 0 {
			return nil
		}
		b = b[n:]
		var v []byte
		switch tag & 7 {
		case 0:
			_, n = binary.Uvarint(b)
		case 1:
			n = 8
		case 5:
			n = 4
		case 2:
			size, m := binary.Uvarint(b)
			if m <= 0 || size > uint64(len(b)-m) {
				return nil
			}
			n = m + int(size)
			v = b[m:n]
		default:
			return nil
		}
		if n <= 0 || n > len(b) {
			return nil
		}
		b = b[n:]
		if v == nil {
			continue
		}
		if err := f(t, v); err != nil {
			return err
		}
		of := messageField(t, tag>>3)
		if of == nil {
			continue
		}
		if err := walkMessage(of, v, depth+1, f); err != nil {
			return err
		}
	}
	return nil
}
