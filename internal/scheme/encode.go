package scheme

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"
)

// Encode appends the object in the media type. The object states its own kind;
// it is not changed. Errors: the kind has no protobuf form.
func Encode(dst []byte, mt MediaType, obj runtime.Object) ([]byte, error) {
	switch mt {
	case YAML:
		return EncodeYAML(dst, obj)
	case Protobuf:
		return EncodeProtobuf(dst, obj)
	}
	return EncodeJSON(dst, obj)
}

// EncodeJSON appends the object as JSON without a line end.
func EncodeJSON(dst []byte, obj runtime.Object) ([]byte, error) {
	buf := bytes.NewBuffer(dst)
	if err := json.NewEncoder(buf).Encode(obj); err != nil {
		return dst, fmt.Errorf("encode %s: %w", obj.GetObjectKind().GroupVersionKind().Kind, err)
	}
	b := buf.Bytes()
	return b[:len(b)-1], nil
}

// EncodeYAML appends the object as YAML.
func EncodeYAML(dst []byte, obj runtime.Object) ([]byte, error) {
	j, err := EncodeJSON(nil, obj)
	if err != nil {
		return dst, err
	}
	y, err := yaml.JSONToYAML(j)
	if err != nil {
		return dst, fmt.Errorf("encode %s: %w", obj.GetObjectKind().GroupVersionKind().Kind, err)
	}
	return append(dst, y...), nil
}

// message is what the generated protobuf code gives every kind.
type message interface {
	Size() int
	MarshalToSizedBuffer([]byte) (int, error)
	Unmarshal([]byte) error
}

// HasProtobuf tells whether objects of that Go type have a protobuf form.
func HasProtobuf(obj runtime.Object) bool {
	_, ok := obj.(message)
	return ok
}

// EncodeProtobuf appends the object in upstream's envelope.
func EncodeProtobuf(dst []byte, obj runtime.Object) ([]byte, error) {
	m, ok := obj.(message)
	if !ok {
		return dst, fmt.Errorf("%T has no protobuf form", obj)
	}
	apiVersion, kind := obj.GetObjectKind().GroupVersionKind().ToAPIVersionAndKind()
	n := m.Size()
	dst = slices.Grow(dst, len(protoMagic)+len(apiVersion)+len(kind)+n+32)
	dst = appendProtoHead(dst, apiVersion, kind)
	dst = append(dst, field2)
	dst = binary.AppendUvarint(dst, uint64(n))
	at := len(dst)
	dst = dst[:at+n]
	if _, err := m.MarshalToSizedBuffer(dst[at:]); err != nil {
		return dst[:0], fmt.Errorf("encode %s: %w", kind, err)
	}
	return append(dst, protoTail...), nil
}

// EncodeStored returns the bytes that the store keeps: upstream's, that is
// protobuf where the kind has it, without the resourceVersion, which the store
// itself knows. The object must not be shared yet: its resourceVersion is
// cleared for the while.
func EncodeStored(obj runtime.Object) ([]byte, error) {
	m, err := meta.Accessor(obj)
	if err != nil {
		return nil, err
	}
	if v := m.GetResourceVersion(); v != "" {
		m.SetResourceVersion("")
		defer m.SetResourceVersion(v)
	}
	if HasProtobuf(obj) {
		return EncodeProtobuf(nil, obj)
	}
	return EncodeJSON(nil, obj)
}
