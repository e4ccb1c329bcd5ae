package scheme

import (
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// Decode reads one object of the wanted kind, which a body may leave out but
// not contradict. It returns the object with its kind set, and warnings about
// fields under Warn. Errors are bad requests, with upstream's texts.
//
// The body's size is the caller's to bound; its depth and expansion are
// bounded here.
func (t *Table) Decode(body []byte, mt MediaType, want schema.GroupVersionKind, v Validation) (runtime.Object, []string, error) {
	obj := t.NewObject(want)
	if obj == nil {
		return nil, nil, apierrors.NewInternalError(fmt.Errorf("kind %s is not in the table", want))
	}
	warnings, err := t.decodeInto(obj, body, mt, want, v)
	if err != nil {
		return nil, nil, err
	}
	return obj, warnings, nil
}

func (t *Table) decodeInto(obj runtime.Object, body []byte, mt MediaType, want schema.GroupVersionKind, v Validation) ([]string, error) {
	if mt == Protobuf {
		return nil, t.decodeProtobuf(obj, body, want)
	}
	strict, err := unmarshalText(obj, body, mt, v)
	if err != nil {
		// What is wrong may be that it is another kind altogether.
		if got, e := typeOf(body, mt, want); e != nil {
			return nil, unrecognized(want, e, body)
		} else if e := t.checkKind(got, want, body); e != nil {
			return nil, e
		}
		return nil, cannotHandle(want, want, err)
	}
	got := obj.GetObjectKind().GroupVersionKind()
	if got != want {
		if v, _ := obj.GetObjectKind().(*metav1.TypeMeta); v != nil {
			if _, err := schema.ParseGroupVersion(v.APIVersion); err != nil {
				return nil, unrecognized(want, err, body)
			}
		}
		if got.Kind == "" {
			got.Kind = want.Kind
		}
		if got.Version == "" {
			got.Group, got.Version = want.Group, want.Version
		}
		if err := t.checkKind(got, want, body); err != nil {
			return nil, err
		}
		obj.GetObjectKind().SetGroupVersionKind(want)
	}
	if len(strict) == 0 {
		return nil, nil
	}
	if v == Strict {
		return nil, cannotHandle(want, want, runtime.NewStrictDecodingError(strict))
	}
	var warnings []string
	for _, e := range strict {
		warnings = append(warnings, Complaints(e)...)
	}
	return warnings, nil
}

// unmarshalText reads JSON or YAML; strict are the complaints about fields,
// which Ignore does not look for.
func unmarshalText(into any, body []byte, mt MediaType, v Validation) (strict []error, err error) {
	data := body
	if mt == YAML {
		if data, err = yaml.YAMLToJSON(body); err != nil {
			return nil, err
		}
	}
	if recursive(into) {
		if err := checkDepth(data); err != nil {
			return nil, err
		}
	}
	if suspect(data) {
		if err := checkQuantities(reflect.TypeOf(into), data); err != nil {
			return nil, err
		}
	}
	if v == Ignore {
		return nil, kjson.UnmarshalCaseSensitivePreserveInts(data, into)
	}
	if mt == YAML {
		// Converting to JSON dropped keys given twice.
		if _, err := yaml.YAMLToJSONStrict(body); err != nil {
			strict = append(strict, err)
		}
	}
	more, err := kjson.UnmarshalStrict(data, into)
	return append(strict, more...), err
}

// Complaints returns what an error about fields says, each by itself: what a
// YAML text has more than once is in one.
func Complaints(err error) []string {
	_, lines, found := strings.Cut(err.Error(), "yaml: unmarshal errors:\n")
	if !found {
		return []string{err.Error()}
	}
	var all []string
	for line := range strings.SplitSeq(lines, "\n") {
		all = append(all, strings.TrimSpace(line))
	}
	return all
}

// typeOf returns the kind that a text body states, with what it leaves out
// from want.
func typeOf(body []byte, mt MediaType, want schema.GroupVersionKind) (schema.GroupVersionKind, error) {
	var t struct {
		APIVersion string `json:"apiVersion,omitempty"`
		Kind       string `json:"kind,omitempty"`
	}
	data := body
	if mt == YAML {
		var err error
		if data, err = yaml.YAMLToJSON(body); err != nil {
			return want, err
		}
	}
	if err := json.Unmarshal(data, &t); err != nil {
		return want, fmt.Errorf("couldn't get version/kind; json parse error: %w", err)
	}
	return stated(t.APIVersion, t.Kind, want)
}

func stated(apiVersion, kind string, want schema.GroupVersionKind) (schema.GroupVersionKind, error) {
	got := want
	if apiVersion != "" {
		gv, err := schema.ParseGroupVersion(apiVersion)
		if err != nil {
			return want, err
		}
		got.Group, got.Version = gv.Group, gv.Version
	}
	if kind != "" {
		got.Kind = kind
	}
	return got, nil
}

// checkKind returns the error for a body of another kind than the wanted.
func (t *Table) checkKind(got, want schema.GroupVersionKind, body []byte) error {
	if got == want {
		return nil
	}
	if t.NewObject(got) != nil && got.GroupVersion() != want.GroupVersion() {
		return apierrors.NewBadRequest(fmt.Sprintf("the API version in the data (%s) does not match the expected API version (%s)",
			got.GroupVersion(), want.GroupVersion()))
	}
	return cannotHandle(got, want, t.unconvertible(got, want))
}

// unconvertible is why a kind is not the wanted.
func (t *Table) unconvertible(got, want schema.GroupVersionKind) error {
	if t.NewObject(got) == nil {
		return fmt.Errorf("no kind %q is registered for version %q in scheme %q", got.Kind, got.GroupVersion(), "pkg/runtime/scheme.go:111")
	}
	return fmt.Errorf("converting (%s.%s) to (%s.%s): unknown conversion", got.Version, got.Kind, t.internalPackage(want), want.Kind)
}

// internalPackage is where upstream has the form of a kind that it works with.
func (t *Table) internalPackage(kind schema.GroupVersionKind) string {
	group := kind.Group
	if r := t.ByKind(kind); r != nil {
		group = r.Stored.Group
	}
	name, _, _ := strings.Cut(cmp.Or(group, "core"), ".")
	return name
}

func unrecognized(want schema.GroupVersionKind, err error, body []byte) error {
	return apierrors.NewBadRequest(fmt.Sprintf("the object provided is unrecognized (must be of type %s): %v (%s)",
		want.Kind, err, excerpt(body)))
}

func cannotHandle(got, want schema.GroupVersionKind, err error) error {
	text := err.Error()
	if len(text) > longestError {
		text = strings.ToValidUTF8(text[:longestError], "") + "..." // of what was sent, none needs more back
	}
	return apierrors.NewBadRequest(fmt.Sprintf("%s in version %q cannot be handled as a %s: %s",
		got.Kind, got.Version, want.Kind, text))
}

// longestError bounds the part of an error's text that can repeat the body.
const longestError = 16 << 10

// excerpt shows the start of a body in an error: text if it looks like JSON.
func excerpt(body []byte) string {
	const most = 30
	if len(body) == 0 {
		return "<empty>"
	}
	more := ""
	text := body[0] == '{'
	if len(body) > most {
		body, more = body[:most], " ..."
	}
	if text {
		return strings.ToValidUTF8(string(body), "�") + more
	}
	return hex.EncodeToString(body) + more
}

func (t *Table) decodeProtobuf(obj runtime.Object, body []byte, want schema.GroupVersionKind) error {
	env, err := openEnvelope(body)
	if err != nil {
		return unrecognized(want, err, body)
	}
	got, err := stated(env.apiVersion, env.kind, want)
	if err != nil {
		return unrecognized(want, err, body)
	}
	if err := t.checkKind(got, want, body); err != nil {
		return err
	}
	m, ok := obj.(message)
	if !ok {
		return unrecognized(want, fmt.Errorf("%s has no protobuf form", want.Kind), body)
	}
	if recursive(obj) {
		if err := checkMessageDepth(reflect.TypeOf(obj), env.raw); err != nil {
			return cannotHandle(want, want, err)
		}
	}
	if suspect(env.raw) {
		if err := checkMessage(reflect.TypeOf(obj), env.raw); err != nil {
			return cannotHandle(want, want, err)
		}
	}
	if err := m.Unmarshal(env.raw); err != nil {
		return cannotHandle(want, want, err)
	}
	return nil
}

// envelope is runtime.Unknown; raw aliases the input.
type envelope struct {
	apiVersion, kind string
	raw              []byte
}

var errTruncated = errors.New("protobuf message is truncated")

func openEnvelope(b []byte) (envelope, error) {
	var e envelope
	if len(b) < len(protoMagic) || string(b[:len(protoMagic)]) != protoMagic {
		return e, fmt.Errorf("provided data does not appear to be a protobuf message, expected prefix %v", []byte(protoMagic))
	}
	if len(b) == len(protoMagic) {
		return e, errors.New("empty body")
	}
	err := eachField(b[len(protoMagic):], func(num uint64, v []byte) error {
		switch num {
		case 1:
			return eachField(v, func(num uint64, v []byte) error {
				switch num {
				case 1:
					e.apiVersion = string(v)
				case 2:
					e.kind = string(v)
				}
				return nil
			})
		case 2:
			e.raw = v
		}
		return nil
	})
	return e, err
}

// eachField calls f with the fields of a message that holds only
// length-delimited ones.
func eachField(b []byte, f func(num uint64, v []byte) error) error {
	for len(b) > 0 {
		tag, n := binary.Uvarint(b)
		if n <= 0 {
			return errTruncated
		}
		if tag&7 != 2 {
			return fmt.Errorf("protobuf field %d has wire type %d, expected 2", tag>>3, tag&7)
		}
		b = b[n:]
		size, n := binary.Uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			return errTruncated
		}
		if err := f(tag>>3, b[n:n+int(size)]); err != nil {
			return err
		}
		b = b[n+int(size):]
	}
	return nil
}

// DecodeStored reads what EncodeStored, or upstream, wrote at that revision,
// protobuf or JSON.
func (r *Resource) DecodeStored(value []byte, revision int64) (runtime.Object, error) {
	obj := r.Stored.New()
	if len(value) > 0 && value[0] == '{' {
		if err := kjson.UnmarshalCaseSensitivePreserveInts(value, obj); err != nil {
			return nil, fmt.Errorf("stored %s: %w", r.Kind, err)
		}
	} else {
		env, err := openEnvelope(value)
		if err != nil {
			return nil, fmt.Errorf("stored %s: %w", r.Kind, err)
		}
		if env.kind != r.Stored.Kind {
			return nil, fmt.Errorf("stored %s: value is a %q", r.Kind, env.kind)
		}
		m, ok := obj.(message)
		if !ok {
			return nil, fmt.Errorf("stored %s: %T has no protobuf form", r.Kind, obj)
		}
		if err := m.Unmarshal(env.raw); err != nil {
			return nil, fmt.Errorf("stored %s: %w", r.Kind, err)
		}
	}
	setType(obj, r.Stored.apiVersion, r.Stored.Kind)
	m, err := meta.Accessor(obj)
	if err != nil {
		return nil, err
	}
	m.SetResourceVersion(strconv.FormatInt(revision, 10))
	return obj, nil
}
