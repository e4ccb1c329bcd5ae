package job

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
)

// indexes is a set of completion indexes. Its text is that of a Job's status:
// "1,3-5".
type indexes []int // sorted

// parseIndexes reads such a text, and keeps what is below limit.
func parseIndexes(s string, limit int) (out indexes) {
	for part := range strings.SplitSeq(s, ",") {
		from, to, isRange := strings.Cut(part, "-")
		a, err := strconv.Atoi(from)
		if err != nil {
			continue
		}
		b := a
		if isRange {
			if b, err = strconv.Atoi(to); err != nil {
				continue
			}
		}
		for b = min(b, limit-1); a <= b; a++ {
			out = append(out, a)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (x indexes) has(n int) bool { _, ok := slices.BinarySearch(x, n); return ok }

func (x indexes) with(n int) indexes {
	i, ok := slices.BinarySearch(x, n)
	if ok {
		return x
	}
	return slices.Insert(slices.Clone(x), i, n)
}

// common returns how many indexes both have.
func (x indexes) common(y indexes) (n int) {
	for _, i := range x {
		if y.has(i) {
			n++
		}
	}
	return n
}

func (x indexes) String() string {
	var b strings.Builder
	for i := 0; i < len(x); {
		j := i
		for j+1 < len(x) && x[j+1] == x[j]+1 {
			j++
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		switch j - i {
		case 0:
			fmt.Fprintf(&b, "%d", x[i])
		case 1:
			fmt.Fprintf(&b, "%d,%d", x[i], x[j])
		default:
			fmt.Fprintf(&b, "%d-%d", x[i], x[j])
		}
		i = j + 1
	}
	return b.String()
}

// indexOf returns the pod's completion index, -1 if it has none.
func indexOf(p *corev1.Pod) int {
	n, err := strconv.Atoi(p.Annotations[batchv1.JobCompletionIndexAnnotation])
	if err != nil || n < 0 {
		return -1
	}
	return n
}

func indexed(j *batchv1.Job) bool {
	return j.Spec.CompletionMode != nil && *j.Spec.CompletionMode == batchv1.IndexedCompletion
}
