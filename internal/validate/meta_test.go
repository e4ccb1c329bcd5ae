package validate

import (
	"testing"

	"clipper/internal/scheme"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"
)

// TestMetaThatStays checks that the short way finds what the long one does: an
// object whose metadata passed it once.
func TestMetaThatStays(t *testing.T) {
	pods := scheme.New().ByKind(corev1.SchemeGroupVersion.WithKind("Pod"))
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.SampledFrom([]string{"", "a", "b"})
		draw := func(name string) metav1.ObjectMeta {
			m := metav1.ObjectMeta{
				Name: "n" + word.Draw(t, name+"name"), Namespace: "ns", UID: "u", ResourceVersion: word.Draw(t, name+"version"),
				Generation: rapid.Int64Range(0, 2).Draw(t, name+"generation"),
				Labels:     map[string]string{"k": word.Draw(t, name+"label")},
			}
			if rapid.IntRange(0, 3).Draw(t, name+"deleted?") == 0 {
				now, grace := metav1.Unix(rapid.Int64Range(0, 1).Draw(t, name+"at"), 0), rapid.Int64Range(0, 1).Draw(t, name+"grace")
				m.DeletionTimestamp, m.DeletionGracePeriodSeconds = &now, &grace
			}
			if f := word.Draw(t, name+"finalizer"); f != "" {
				m.Finalizers = []string{"example.com/" + f}
			}
			if u := word.Draw(t, name+"owner"); u != "" {
				m.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: u, UID: "o"}}
			}
			if op := word.Draw(t, name+"manager"); op != "" {
				m.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: op, Operation: metav1.ManagedFieldsOperationType(op)}}
			}
			return m
		}
		was, is := &corev1.Pod{ObjectMeta: draw("was ")}, &corev1.Pod{}
		is.ObjectMeta = was.ObjectMeta
		if rapid.Bool().Draw(t, "changed") {
			is.ObjectMeta = draw("is ")
		}
		want, got := changedMeta(pods, podRules, is, was), updateMeta(pods, podRules, is, was)
		if want.ToAggregate() == nil != (got.ToAggregate() == nil) || want != nil && want.ToAggregate().Error() != got.ToAggregate().Error() {
			t.Fatalf("%v, want %v", got, want)
		}
	})
}
