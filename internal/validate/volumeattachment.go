package validate

import (
	"math"

	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// What an attacher may say of a volume.
const (
	longestAttachment  = 256 << 10
	longestVolumeError = 1024
	eitherVolume       = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"
)

var volumeAttachmentRules = &rules{ // never changed
	create:       rule(volumeAttachment),
	update:       change(volumeAttachmentUpdate),
	subresources: subresources{"status": change(volumeAttachmentUpdate)},
}

func volumeAttachment(e *problems, v *storagev1.VolumeAttachment) {
	csiDriverName(e, v.Spec.Attacher, specPath, "attacher")
	at, s := specPath.Child("source"), &v.Spec.Source
	switch {
	case s.InlineVolumeSpec == nil && s.PersistentVolumeName == nil:
		e.required(at, eitherVolume)
	case s.InlineVolumeSpec != nil && s.PersistentVolumeName != nil:
		e.forbidden(at, eitherVolume)
	case s.PersistentVolumeName != nil:
		if *s.PersistentVolumeName == "" {
			e.required(at.Child("persistentVolumeName"), "must specify non empty persistentVolumeName")
		}
		e.check(at, "persistentVolumeName", *s.PersistentVolumeName, dnsSubdomain)
	case s.InlineVolumeSpec != nil:
		inlineVolume(e, s.InlineVolumeSpec, at.Child("inlineVolumeSpec"))
	}
	e.check(specPath, "nodeName", v.Spec.NodeName, dnsSubdomain)

	size := 0
	for k, value := range v.Status.AttachmentMetadata {
		size += len(k) + len(value)
	}
	if size > longestAttachment {
		e.add(field.TooLong(statusPath.Child("attachmentMetadata"), "", longestAttachment))
	}
	volumeError(e, v.Status.AttachError, statusPath.Child("attachError"))
	volumeError(e, v.Status.DetachError, statusPath.Child("detachError"))
}

func volumeError(e *problems, v *storagev1.VolumeError, at *field.Path) {
	if v == nil {
		return
	}
	e.notLonger(at.Child("message"), v.Message, longestVolumeError)
	if v.ErrorCode != nil {
		if *v.ErrorCode < 0 {
			e.invalid(at.Child("errorCode"), *v.ErrorCode, validation.InclusiveRangeError(0, math.MaxInt32))
		}
	}
}

func volumeAttachmentUpdate(e *problems, v, old *storagev1.VolumeAttachment) {
	volumeAttachment(e, v)
	e.immutable(nil, "spec", v.Spec, sameSpec(v.Spec, old.Spec))
}
