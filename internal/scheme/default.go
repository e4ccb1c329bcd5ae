package scheme

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// The default_*.go files fill in what users leave out, one kind a file, with
// the values the API reference documents. Defaults are idempotent: they are
// applied each time an object is written.

// fill sets a string that is empty.
func fill[S ~string](s *S, value S) {
	if *s == "" {
		*s = value
	}
}

// number sets a number that is zero.
func number[N ~int32 | ~int64](n *N, value N) {
	if *n == 0 {
		*n = value
	}
}

// point sets a pointer that is nil.
func point[T any](p **T, value T) {
	if *p == nil {
		// Only a value that is used may cost an allocation.
		v := value
		*p = &v
	}
}

// roundUp rounds quantities up to thousandths, the finest that is kept.
func roundUp(lists ...corev1.ResourceList) {
	for _, list := range lists {
		for name, q := range list {
			if q.RoundUp(resource.Milli) {
				continue
			}
			list[name] = q
		}
	}
}
