package scheme

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/mergepatch"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/apimachinery/pkg/util/validation/field"
	kjson "sigs.k8s.io/json"
)

const (
	// maxPatchOperations is how many operations a JSON patch may have.
	maxPatchOperations = 10000
	// maxPatchGrowth bounds what copy operations may add, in bytes, and how far
	// an array may be extended.
	maxPatchGrowth = 3 << 20
)

// boundPatches sets the limits of the JSON patch library, which are the
// process's.
var boundPatches = sync.OnceFunc(func() {
	jsonpatch.AccumulatedCopySizeLimit = maxPatchGrowth
})

// Patch returns a new object: current with the patch applied. current has the
// row's own version and is not changed. Warnings are about unknown and
// duplicate fields, of the patch or of its result, under Warn. Errors are
// StatusErrors with upstream's codes and texts.
func (t *Table) Patch(r *Resource, current runtime.Object, pt types.PatchType, body []byte, v Validation) (runtime.Object, []string, error) {
	return t.PatchKind(r.GroupVersionKind(), current, pt, body, v)
}

// PatchKind is Patch for the kind of a subresource, such as Scale.
func (t *Table) PatchKind(kind schema.GroupVersionKind, current runtime.Object, pt types.PatchType, body []byte, v Validation) (runtime.Object, []string, error) {
	obj := t.NewObject(kind)
	if obj == nil {
		return nil, nil, apierrors.NewInternalError(fmt.Errorf("kind %s is not in the table", kind))
	}
	switch pt {
	case types.JSONPatchType:
		return t.patchBytes(obj, kind, current, body, v, applyJSONPatch)
	case types.MergePatchType:
		return t.patchBytes(obj, kind, current, body, v, applyMergePatch)
	case types.StrategicMergePatchType:
		return t.patchStrategic(obj, kind, current, body, v)
	}
	return nil, nil, apierrors.NewGenericServerResponse(http.StatusUnsupportedMediaType, "patch", schema.GroupResource{}, "",
		fmt.Sprintf("the body of the request was in an unknown format - accepted media types include: %s, %s, %s, %s",
			types.JSONPatchType, types.MergePatchType, types.StrategicMergePatchType, types.ApplyYAMLPatchType), 0, true)
}

// patchBytes applies a patch that works on the JSON of the object.
func (t *Table) patchBytes(obj runtime.Object, kind schema.GroupVersionKind, current runtime.Object, body []byte, v Validation,
	apply func(doc, body []byte, v Validation) ([]byte, []error, error)) (runtime.Object, []string, error) {
	doc, err := EncodeJSON(nil, current)
	if err != nil {
		return nil, nil, apierrors.NewInternalError(err)
	}
	patched, strict, err := apply(doc, body, v)
	if err != nil {
		return nil, nil, err
	}
	more, err := unmarshalText(obj, patched, JSON, v)
	if err != nil {
		return nil, nil, invalidPatch(string(patched), err)
	}
	warnings, err := settle(append(strict, more...), string(patched), v)
	if err != nil {
		return nil, nil, err
	}
	if err := t.patchedKind(obj, kind); err != nil {
		return nil, nil, invalidPatch(string(patched), err)
	}
	return obj, warnings, nil
}

// jsonPatchOp is what an operation of a JSON patch may say.
type jsonPatchOp struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	From  string `json:"from"`
	Value any    `json:"value"`
}

func applyJSONPatch(doc, body []byte, v Validation) ([]byte, []error, error) {
	boundPatches()
	var strict []error
	if v != Ignore {
		var ops []jsonPatchOp
		errs, err := kjson.UnmarshalStrict(body, &ops)
		if err != nil {
			return nil, nil, apierrors.NewBadRequest(fmt.Sprintf("error decoding patch: %v", strings.Replace(err.Error(), "scheme.jsonPatchOp", "handlers.jsonPatchOp", 1)))
		}
		for _, e := range errs {
			strict = append(strict, fmt.Errorf("json patch %w", e))
		}
	}
	patch, err := jsonpatch.DecodePatch(body)
	if err != nil {
		return nil, nil, apierrors.NewBadRequest(err.Error())
	}
	if len(patch) > maxPatchOperations {
		return nil, nil, apierrors.NewRequestEntityTooLargeError(
			fmt.Sprintf("The allowed maximum operations in a JSON patch is %d, got %d", maxPatchOperations, len(patch)))
	}
	patched, err := patch.Apply(doc)
	if err != nil {
		return nil, nil, unprocessable(err)
	}
	return patched, strict, nil
}

func applyMergePatch(doc, body []byte, v Validation) ([]byte, []error, error) {
	// The library decodes what is within a level once more for each level.
	if err := checkDepth(body); err != nil {
		return nil, nil, apierrors.NewBadRequest(fmt.Sprintf("error decoding patch: %v", err))
	}
	var strict []error
	if v != Ignore {
		var m map[string]any
		var err error
		if strict, err = kjson.UnmarshalStrict(body, &m); err != nil {
			return nil, nil, apierrors.NewBadRequest(fmt.Sprintf("error decoding patch: %v", err))
		}
	}
	patched, err := jsonpatch.MergePatch(doc, body)
	if err != nil {
		return nil, nil, apierrors.NewBadRequest(err.Error())
	}
	return patched, strict, nil
}

func (t *Table) patchStrategic(obj runtime.Object, kind schema.GroupVersionKind, current runtime.Object, body []byte, v Validation) (runtime.Object, []string, error) {
	var patch map[string]any
	var strict []error
	var err error
	if v == Ignore {
		err = kjson.UnmarshalCaseSensitivePreserveInts(body, &patch)
	} else {
		strict, err = kjson.UnmarshalStrict(body, &patch)
	}
	if err != nil {
		return nil, nil, apierrors.NewBadRequest(err.Error())
	}
	if err := CheckConfig(current, body); err != nil {
		return nil, nil, invalidPatch(string(body), err)
	}
	doc, err := runtime.DefaultUnstructuredConverter.ToUnstructured(current)
	if err != nil {
		return nil, nil, apierrors.NewInternalError(err)
	}
	patched, err := mergeStrategic(doc, patch, obj)
	if err != nil {
		return nil, nil, strategicError(err)
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(patched, obj, v != Ignore); err != nil {
		unknown, ok := runtime.AsStrictDecodingError(err)
		if !ok {
			return nil, nil, invalidPatch(fmt.Sprintf("%+v", patch), err)
		}
		strict = append(strict, unknown.Errors()...)
	}
	obj.GetObjectKind().SetGroupVersionKind(kind) // of which such a patch changes nothing
	if len(strict) == 0 {
		return obj, nil, nil
	}
	warnings, err := settle(strict, fmt.Sprintf("%+v", patch), v)
	if err != nil {
		return nil, nil, err
	}
	return obj, warnings, nil
}

// mergeStrategic keeps patches that the library chokes on, such as a
// $retainKeys that lists lists, from ending more than their own request.
func mergeStrategic(doc, patch map[string]any, schema any) (patched map[string]any, err error) {
	defer func() {
		if p := recover(); p != nil {
			patched, err = nil, apierrors.NewBadRequest(fmt.Sprintf("invalid strategic merge patch: %v", p))
		}
	}()
	return strategicpatch.StrategicMergeMapPatch(doc, patch, schema)
}

// patchedKind refuses a patch that made another kind of the object.
func (t *Table) patchedKind(obj runtime.Object, kind schema.GroupVersionKind) error {
	if obj.GetObjectKind().GroupVersionKind() == kind {
		return nil
	}
	if m, ok := obj.GetObjectKind().(*metav1.TypeMeta); ok {
		got, err := stated(m.APIVersion, m.Kind, kind)
		if err != nil {
			return err
		}
		if got != kind {
			return t.unconvertible(got, kind)
		}
	}
	obj.GetObjectKind().SetGroupVersionKind(kind)
	return nil
}

// settle turns complaints about fields into warnings or an error.
func settle(strict []error, value string, v Validation) ([]string, error) {
	if len(strict) == 0 || v == Ignore {
		return nil, nil
	}
	if v == Strict {
		return nil, invalidPatch(value, runtime.NewStrictDecodingError(strict))
	}
	warnings := make([]string, len(strict))
	for i, e := range strict {
		warnings[i] = e.Error()
	}
	return warnings, nil
}

func invalidPatch(value string, err error) error {
	return apierrors.NewInvalid(schema.GroupKind{}, "", field.ErrorList{
		field.Invalid(field.NewPath("patch"), value, err.Error()),
	})
}

// unprocessable is the answer to a patch that is well formed but does not
// apply to the object.
func unprocessable(err error) error {
	return apierrors.NewGenericServerResponse(http.StatusUnprocessableEntity, "", schema.GroupResource{}, "", err.Error(), 0, false)
}

// strategicError tells patches that can never be applied to such an object
// from those that are malformed. Of others upstream says that it failed.
func strategicError(err error) error {
	if errors.Is(err, mergepatch.ErrNoListOfLists) {
		return unprocessable(err)
	}
	for _, malformed := range []error{
		mergepatch.ErrBadJSONDoc, mergepatch.ErrBadPatchFormatForPrimitiveList, mergepatch.ErrBadPatchFormatForRetainKeys,
		mergepatch.ErrBadPatchFormatForSetElementOrderList, mergepatch.ErrUnsupportedStrategicMergePatchFormat,
	} {
		if errors.Is(err, malformed) {
			return apierrors.NewBadRequest(err.Error())
		}
	}
	return err
}
