package apiserver

import (
	"clipper/internal/apiserver/cache"
	"clipper/internal/scheme"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// encoders returns the ways a stored object becomes bytes of the row's version.
func encoders(row *scheme.Resource, kept *cache.Encodings) (by [3]*cache.Encoder) {
	for _, mt := range []scheme.MediaType{scheme.JSON, scheme.YAML, scheme.Protobuf} {
		by[mt] = &cache.Encoder{Kept: kept, Encode: func(o runtime.Object) ([]byte, error) {
			if row.FromStored != nil {
				var err error
				if o, err = row.FromStored(o); err != nil {
					return nil, err
				}
			}
			return exact(scheme.Encode(nil, mt, o))
		}}
	}
	return by
}

// partialEncoders do the same for the metadata alone.
func partialEncoders(kept *cache.Encodings) (by [3]*cache.Encoder) {
	for _, mt := range []scheme.MediaType{scheme.JSON, scheme.YAML, scheme.Protobuf} {
		by[mt] = &cache.Encoder{Kept: kept, Encode: func(o runtime.Object) ([]byte, error) {
			return exact(scheme.Encode(nil, mt, partial(o)))
		}}
	}
	return by
}

// partial returns the metadata of an object as an object.
func partial(o runtime.Object) *metav1.PartialObjectMetadata {
	p := &metav1.PartialObjectMetadata{
		TypeMeta: metav1.TypeMeta{APIVersion: "meta.k8s.io/v1", Kind: "PartialObjectMetadata"},
	}
	if a, ok := o.(metav1.ObjectMetaAccessor); ok {
		if m, ok := a.GetObjectMeta().(*metav1.ObjectMeta); ok {
			p.ObjectMeta = *m
		}
	}
	return p
}

// exact returns bytes without spare room, for they are kept.
func exact(b []byte, err error) ([]byte, error) {
	if err != nil || cap(b)-len(b) < len(b)/8 {
		return b, err
	}
	return append(make([]byte, 0, len(b)), b...), nil
}
