package table

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"
)

// What a cell says when there is nothing to say.
const (
	none    = "<none>"
	unset   = "<unset>"
	unknown = "<unknown>"
)

// since is how long ago the time was.
func since(now time.Time, t metav1.Time) string {
	if t.IsZero() {
		return unknown
	}
	return duration.HumanDuration(now.Sub(t.Time))
}

func sinceMicro(now time.Time, t metav1.MicroTime) string {
	return since(now, metav1.NewTime(t.Time))
}

func timestamp(t metav1.Time) string { return t.UTC().Format(time.RFC3339) }

// or returns the text, or what to say when it is empty.
func or[S ~string](s S, empty string) string {
	if s == "" {
		return empty
	}
	return string(s)
}

// list joins texts with commas.
func list(items []string) string { return or(strings.Join(items, ","), none) }

// firstOf joins at most three of the items and tells how many more there are.
func firstOf(items []string) string {
	const most = 3
	if len(items) <= most {
		return strings.Join(items, ",")
	}
	return fmt.Sprintf("%s + %d more...", strings.Join(items[:most], ","), len(items)-most)
}

// templateCells are the names and images of a template's containers.
func templateCells(s *corev1.PodSpec) (names, images string) {
	n, i := make([]string, len(s.Containers)), make([]string, len(s.Containers))
	for c := range s.Containers {
		n[c], i[c] = s.Containers[c].Name, s.Containers[c].Image
	}
	return strings.Join(n, ","), strings.Join(i, ",")
}

// count is what a pointer to a number says.
func count(n *int32) int64 {
	if n == nil {
		return 0
	}
	return int64(*n)
}

// classOf is the name of a class, and that it is the default if one of the
// annotations says so.
func classOf(c metav1.Object, annotations ...string) string {
	for _, a := range annotations {
		if c.GetAnnotations()[a] == "true" {
			return c.GetName() + " (default)"
		}
	}
	return c.GetName()
}

// distinct is each of the texts once, in order.
func distinct(texts []string) []string {
	slices.Sort(texts)
	return slices.Compact(texts)
}

// accessModes abbreviates the ways a volume may be mounted, each once.
func accessModes(modes []corev1.PersistentVolumeAccessMode) string {
	var out []string
	for _, m := range []struct {
		mode  corev1.PersistentVolumeAccessMode
		short string
	}{
		{corev1.ReadWriteOnce, "RWO"}, {corev1.ReadOnlyMany, "ROX"}, {corev1.ReadWriteMany, "RWX"}, {corev1.ReadWriteOncePod, "RWOP"},
	} {
		for _, has := range modes {
			if has == m.mode {
				out = append(out, m.short)
				break
			}
		}
	}
	return strings.Join(out, ",")
}
