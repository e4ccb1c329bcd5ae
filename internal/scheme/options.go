package scheme

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/conversion"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// The functions of this file read the options of a request from its query. As
// upstream's, they pass over what they do not know. Errors are bad requests.

// ParseListOptions reads the options of list, watch and deletecollection.
func ParseListOptions(q url.Values) (metav1.ListOptions, error) {
	return parseMeta(q, metav1.Convert_url_Values_To_v1_ListOptions)
}

// ParseGetOptions reads the options of get.
func ParseGetOptions(q url.Values) (metav1.GetOptions, error) {
	return parseMeta(q, metav1.Convert_url_Values_To_v1_GetOptions)
}

// ParseCreateOptions reads the options of create.
func ParseCreateOptions(q url.Values) (metav1.CreateOptions, error) {
	return parseMeta(q, metav1.Convert_url_Values_To_v1_CreateOptions)
}

// ParseUpdateOptions reads the options of update.
func ParseUpdateOptions(q url.Values) (metav1.UpdateOptions, error) {
	return parseMeta(q, metav1.Convert_url_Values_To_v1_UpdateOptions)
}

// ParsePatchOptions reads the options of patch.
func ParsePatchOptions(q url.Values) (metav1.PatchOptions, error) {
	return parseMeta(q, metav1.Convert_url_Values_To_v1_PatchOptions)
}

// ParseDeleteOptions reads the options of delete when they are not in the body.
func ParseDeleteOptions(q url.Values) (metav1.DeleteOptions, error) {
	return parseMeta(q, metav1.Convert_url_Values_To_v1_DeleteOptions)
}

// ParseTableOptions reads includeObject.
func ParseTableOptions(q url.Values) (metav1.TableOptions, error) {
	o, err := parseMeta(q, metav1.Convert_url_Values_To_v1_TableOptions)
	if err != nil {
		return o, err
	}
	switch o.IncludeObject {
	case "":
		o.IncludeObject = metav1.IncludeMetadata
	case metav1.IncludeNone, metav1.IncludeMetadata, metav1.IncludeObject:
	default:
		return o, apierrors.NewBadRequest(fmt.Sprintf("unrecognized includeObject value: %q", o.IncludeObject))
	}
	return o, nil
}

func parseMeta[T any](q url.Values, convert func(*url.Values, *T, conversion.Scope) error) (T, error) {
	var o T
	if len(q) == 0 {
		return o, nil
	}
	if err := convert(&q, &o, nil); err != nil {
		return o, apierrors.NewBadRequest(err.Error())
	}
	return o, nil
}

// ParseValidation reads the fieldValidation parameter; unset is Warn.
func ParseValidation(value string) (Validation, error) {
	switch value {
	case "", metav1.FieldValidationWarn:
		return Warn, nil
	case metav1.FieldValidationStrict:
		return Strict, nil
	case metav1.FieldValidationIgnore:
		return Ignore, nil
	}
	return Warn, apierrors.NewBadRequest(fmt.Sprintf("invalid fieldValidation %q: must be one of Ignore, Warn, Strict", value))
}

// DecodeDeleteOptions reads the body of a delete. Every group version knows
// the kind as its own, those that are not served too.
func (t *Table) DecodeDeleteOptions(body []byte, mt MediaType) (metav1.DeleteOptions, error) {
	var o metav1.DeleteOptions
	want := metaKind("DeleteOptions")
	var got schema.GroupVersionKind
	var err error
	if mt == Protobuf {
		env, eerr := openEnvelope(body)
		if eerr != nil {
			return o, apierrors.NewBadRequest(eerr.Error())
		}
		if got, err = stated(env.apiVersion, env.kind, want); err == nil && got.Kind == want.Kind {
			err = o.Unmarshal(env.raw)
		}
	} else if got, err = typeOf(body, mt, want); err == nil && got.Kind == want.Kind {
		_, err = unmarshalText(&o, body, mt, Ignore)
	}
	switch {
	case err != nil:
		return o, apierrors.NewBadRequest(err.Error())
	case got.Kind != want.Kind && slices.Contains(optionKinds, got.Kind):
		return o, apierrors.NewBadRequest(fmt.Sprintf("converting (%s.%s) to (v1.DeleteOptions): unknown conversion", got.Version, got.Kind))
	case got.Kind != want.Kind:
		return o, apierrors.NewBadRequest(fmt.Sprintf("no kind %q is registered for version %q in scheme %q", got.Kind, got.GroupVersion(), "pkg/runtime/scheme.go:111"))
	}
	setType(&o, "v1", want.Kind)
	return o, nil
}

// optionKinds are those that every group version knows.
var optionKinds = []string{"CreateOptions", "GetOptions", "ListOptions", "PatchOptions", "UpdateOptions"} // never changed

// query reads single parameters and keeps the first error.
type query struct {
	values url.Values
	err    error
}

func (q *query) text(name string) string { return q.values.Get(name) }

func (q *query) flag(name string) bool {
	v := q.values[name]
	var b bool
	if len(v) > 0 {
		q.keep(runtime.Convert_Slice_string_To_bool(&v, &b, nil))
	}
	return b
}

func (q *query) number(name string) *int64 {
	v := q.values[name]
	if len(v) == 0 || v[0] == "" {
		return nil
	}
	n, err := strconv.ParseInt(v[0], 10, 64)
	q.keep(err)
	return &n
}

func (q *query) keep(err error) {
	if err != nil && q.err == nil {
		q.err = apierrors.NewBadRequest(err.Error())
	}
}

// ParsePodLogOptions reads the options of pods/log.
func ParsePodLogOptions(v url.Values) (*corev1.PodLogOptions, error) {
	q := query{values: v}
	o := &corev1.PodLogOptions{
		Container:                    q.text("container"),
		Follow:                       q.flag("follow"),
		Previous:                     q.flag("previous"),
		SinceSeconds:                 q.number("sinceSeconds"),
		Timestamps:                   q.flag("timestamps"),
		TailLines:                    q.number("tailLines"),
		LimitBytes:                   q.number("limitBytes"),
		InsecureSkipTLSVerifyBackend: q.flag("insecureSkipTLSVerifyBackend"),
	}
	if s := q.text("sinceTime"); s != "" {
		t, err := time.Parse(time.RFC3339, s)
		q.keep(err)
		since := metav1.NewTime(t)
		o.SinceTime = &since
	}
	if s := q.text("stream"); s != "" {
		o.Stream = &s
	}
	setType(o, "v1", "PodLogOptions")
	return o, q.err
}

// ParsePodExecOptions reads the options of pods/exec. As upstream has it,
// stdout and stderr are what is asked for, nothing by itself.
func ParsePodExecOptions(v url.Values) (*corev1.PodExecOptions, error) {
	q := query{values: v}
	o := &corev1.PodExecOptions{
		Stdin: q.flag("stdin"), Stdout: q.flag("stdout"), Stderr: q.flag("stderr"), TTY: q.flag("tty"),
		Container: q.text("container"), Command: v["command"],
	}
	setType(o, "v1", "PodExecOptions")
	return o, q.err
}

// ParsePodAttachOptions reads the options of pods/attach.
func ParsePodAttachOptions(v url.Values) (*corev1.PodAttachOptions, error) {
	q := query{values: v}
	o := &corev1.PodAttachOptions{
		Stdin: q.flag("stdin"), Stdout: q.flag("stdout"), Stderr: q.flag("stderr"), TTY: q.flag("tty"),
		Container: q.text("container"),
	}
	// Attaching without naming a stream means to watch what is written.
	if _, ok := v["stdout"]; !ok {
		o.Stdout = true
	}
	if _, ok := v["stderr"]; !ok {
		o.Stderr = true
	}
	setType(o, "v1", "PodAttachOptions")
	return o, q.err
}

// ParsePodPortForwardOptions reads the options of pods/portforward: ports may
// be given more than once, and as lists with commas.
func ParsePodPortForwardOptions(v url.Values) (*corev1.PodPortForwardOptions, error) {
	o := &corev1.PodPortForwardOptions{}
	for _, list := range v["ports"] {
		for _, s := range strings.Split(list, ",") {
			n, err := strconv.ParseInt(s, 10, 32)
			if err != nil || n < 1 || n > 65535 {
				return nil, apierrors.NewBadRequest(fmt.Sprintf("invalid port %q: must be a number from 1 to 65535", s))
			}
			o.Ports = append(o.Ports, int32(n))
		}
	}
	setType(o, "v1", "PodPortForwardOptions")
	return o, nil
}
