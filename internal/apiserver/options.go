package apiserver

import (
	"fmt"
	"unicode"

	"clipper/internal/scheme"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// longestManager bounds the name of who owns fields.
const longestManager = 128

// checkOptions says what is wrong with the options of a create or an update.
// Those of patches and deletions have checks of their own.
func checkOptions(o runtime.Object) error {
	switch o := o.(type) {
	case *metav1.CreateOptions:
		return invalidOptions("CreateOptions", checkManaged(o.FieldManager, o.DryRun, o.FieldValidation))
	case *metav1.UpdateOptions:
		return invalidOptions("UpdateOptions", checkManaged(o.FieldManager, o.DryRun, o.FieldValidation))
	}
	return nil
}

func checkPatch(o *metav1.PatchOptions, pt types.PatchType) error {
	var errs field.ErrorList
	if pt == types.ApplyYAMLPatchType {
		if o.FieldManager == "" {
			errs = append(errs, field.Required(field.NewPath("fieldManager"), "is required for apply patch"))
		}
	} else if o.Force != nil {
		errs = append(errs, field.Forbidden(field.NewPath("force"), "may not be specified for non-apply patch"))
	}
	return invalidOptions("PatchOptions", append(errs, checkManaged(o.FieldManager, o.DryRun, o.FieldValidation)...))
}

func checkDelete(o *metav1.DeleteOptions) error {
	var errs field.ErrorList
	at := field.NewPath("propagationPolicy")
	if p := o.PropagationPolicy; p != nil {
		if o.OrphanDependents != nil {
			errs = append(errs, field.Invalid(at, *p, "orphanDependents and deletionPropagation cannot be both set"))
		}
		switch *p {
		case metav1.DeletePropagationForeground, metav1.DeletePropagationBackground, metav1.DeletePropagationOrphan:
		default:
			errs = append(errs, field.NotSupported(at, *p, []string{
				string(metav1.DeletePropagationForeground), string(metav1.DeletePropagationBackground), string(metav1.DeletePropagationOrphan), "nil",
			}))
		}
	}
	return invalidOptions("DeleteOptions", append(errs, checkDryRun(o.DryRun)...))
}

// checkManaged checks what the options of all writes but deletions have.
func checkManaged(manager string, dryRun []string, validation string) (errs field.ErrorList) {
	at := field.NewPath("fieldManager")
	if len(manager) > longestManager {
		errs = append(errs, field.TooLong(at, manager, longestManager))
	}
	for i, r := range manager {
		if !unicode.IsPrint(r) {
			errs = append(errs, field.Invalid(at, manager, fmt.Sprintf("invalid character %#U (at position %d)", r, i)))
		}
	}
	errs = append(errs, checkDryRun(dryRun)...)
	if _, err := scheme.ParseValidation(validation); err != nil {
		errs = append(errs, field.NotSupported(field.NewPath("fieldValidation"), validation, []string{
			"", metav1.FieldValidationIgnore, metav1.FieldValidationStrict, metav1.FieldValidationWarn,
		}))
	}
	return errs
}

func checkDryRun(values []string) field.ErrorList {
	for _, v := range values {
		if v != metav1.DryRunAll {
			return field.ErrorList{field.NotSupported(field.NewPath("dryRun"), values, []string{metav1.DryRunAll})}
		}
	}
	return nil
}

func invalidOptions(kind string, errs field.ErrorList) error {
	if len(errs) == 0 {
		return nil
	}
	return apierrors.NewInvalid(metav1.SchemeGroupVersion.WithKind(kind).GroupKind(), "", errs)
}
