package ownership

import (
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"pgregory.net/rapid"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/typed"

	"clipper/internal/scheme"
	"clipper/internal/scheme/schemetest"
)

// A history of writes leaves the entries that the library's manager leaves,
// times apart.
func TestUpdateAsUpstream(t *testing.T) {
	table := scheme.New()
	tr := New(table)
	for _, r := range tracked(t, table) {
		if r.FromStored != nil || r.Kind == "CertificateSigningRequest" || r.Kind == "VolumeAttachment" {
			continue
		}
		paths := []string{""}
		if r.Subresource("status") != nil {
			paths = append(paths, "status")
		}
		theirs := map[string]*managedfields.FieldManager{}
		for _, sub := range paths {
			k := kindOf{table, r}
			var reset map[fieldpath.APIVersion]fieldpath.Filter
			if f := tr.scope(r, sub).filter; f != nil {
				reset = map[fieldpath.APIVersion]fieldpath.Filter{fieldpath.APIVersion(r.APIVersion()): f}
			}
			m, err := managedfields.NewDefaultFieldManager(upstream(), k, k, k, r.GroupVersionKind(), r.GroupVersionKind().GroupVersion(), sub, reset)
			if err != nil {
				t.Fatal(err)
			}
			theirs[sub] = m
		}
		t.Run(r.Group+"."+r.Version+"."+r.Kind, func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) {
				f := schemetest.New(rapid.Uint64().Draw(rt, "seed"))
				live, next := pair(f, r)
				var entries, want []metav1.ManagedFieldsEntry
				for step := range 3 {
					sub := ""
					if step > 0 {
						sub = paths[f.IntN(len(paths))]
					}
					manager := []string{"a", "b"}[f.IntN(2)]
					// Only objects that the library can read.
					if _, err := upstream().ObjectToTyped(next, typed.AllowDuplicates); err != nil {
						rt.Skip(err)
					}
					from, to := live.DeepCopyObject(), next.DeepCopyObject()
					if step == 0 {
						from = r.New()
					}
					from.(metav1.Object).SetManagedFields(want)
					from.(metav1.Object).SetUID("u")
					to.(metav1.Object).SetManagedFields(nil)
					if step == 0 {
						from.(metav1.Object).SetUID("")
					}
					out, err := theirs[sub].Update(from, to, manager)
					if err != nil {
						rt.Skip(err)
					}
					want = out.(metav1.Object).GetManagedFields()

					w := Write{Resource: r, Subresource: sub, Manager: manager, Time: metav1.Now()}
					mine := next.DeepCopyObject()
					mine.(metav1.Object).SetManagedFields(nil)
					if step == 0 {
						err = tr.Update(w, nil, mine)
					} else {
						was := live.DeepCopyObject()
						was.(metav1.Object).SetManagedFields(entries)
						err = tr.Update(w, was, mine)
					}
					if err != nil {
						rt.Fatal(err)
					}
					entries = mine.(metav1.Object).GetManagedFields()
					if got, want := summary(entries), summary(want); got != want {
						rt.Fatalf("step %d %q %s:\nwant %s\ngot  %s\nfrom %s\nto   %s", step, sub, manager, want, got, text(live), text(next))
					}
					live = next
					next = live.DeepCopyObject()
					_, other := pair(f, r)
					if f.IntN(2) == 0 {
						next = other
					}
				}
			})
		})
	}
}

// summary is the entries by manager without their times.
func summary(entries []metav1.ManagedFieldsEntry) string {
	s := map[string]string{}
	for _, e := range entries {
		s[fmt.Sprint(e.Manager, " ", e.Operation, " ", e.APIVersion, " ", e.Subresource)] = string(e.FieldsV1.Raw)
	}
	j, _ := json.Marshal(s)
	return string(j)
}

// One tracker serves all requests at once; under -race this tells if it may.
func TestSideBySide(t *testing.T) {
	table := scheme.New()
	tr := New(table)
	r, pod := aPod(t, table)
	deployments := table.ByPath("apps", "v1", "deployments")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			w := Write{Resource: r, Manager: fmt.Sprint(i % 3), Time: at(i)}
			live := pod.DeepCopy()
			if err := tr.Update(w, nil, live); err != nil {
				t.Error(err)
			}
			for n := range 20 {
				next := live.DeepCopy()
				next.Labels["app"] = fmt.Sprint(n)
				next.Status.ContainerStatuses[0].RestartCount++
				if err := tr.Update(w, live, next); err != nil {
					t.Error(err)
				}
				live = next
			}
			if _, _, err := tr.Apply(Write{Resource: deployments, Manager: "a", Time: noon}, deployments.New(), []byte(web), false, scheme.Strict); err != nil {
				t.Error(err)
			}
			if len(live.ManagedFields) != 1 {
				t.Error(live.ManagedFields)
			}
		})
	}
	wg.Wait()
}

var noon = metav1.NewTime(time.Unix(1_700_000_000, 0).UTC())

func at(seconds int) metav1.Time {
	return metav1.NewTime(noon.Add(time.Duration(seconds) * time.Second))
}
