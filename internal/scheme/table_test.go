package scheme

import (
	"slices"
	"strings"
	"testing"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clientscheme "k8s.io/client-go/kubernetes/scheme"

	"github.com/google/go-cmp/cmp"
)

func TestTable(t *testing.T) {
	table := New()
	prefixes := map[string]*Resource{}
	for _, r := range table.Resources() {
		t.Run(r.Name+"."+r.Group, func(t *testing.T) {
			gvk := r.GroupVersionKind()
			if got := r.New().GetObjectKind().GroupVersionKind(); got != gvk {
				t.Errorf("New makes a %v", got)
			}
			if !elsewhere(r) && !clientscheme.Scheme.Recognizes(gvk) {
				t.Errorf("clients do not know %v", gvk)
			}
			if want, _ := meta.UnsafeGuessKindToResource(gvk); r.Kind != "Endpoints" && want.Resource != r.Name {
				t.Errorf("plural is %s", r.Name)
			}
			if r.Singular != strings.ToLower(r.Kind) {
				t.Errorf("singular is %s", r.Singular)
			}
			if table.ByKind(gvk) != r || table.ByGVR(r.GroupVersionResource()) != r || table.ByPath(r.Group, r.Version, r.Name) != r {
				t.Error("not found")
			}
			if !slices.IsSorted(r.Verbs) || len(r.Verbs) == 0 {
				t.Errorf("verbs %v", r.Verbs)
			}
			if !slices.IsSortedFunc(r.Subresources, func(a, b Subresource) int { return strings.Compare(a.Name, b.Name) }) {
				t.Error("subresources are not sorted")
			}
			if r.IsStored() {
				if got := r.NewList().GetObjectKind().GroupVersionKind(); got != gvk.GroupVersion().WithKind(r.Kind+"List") {
					t.Errorf("NewList makes a %v", got)
				}
				if r.Stored == r {
					if other := prefixes[r.Prefix]; other != nil {
						t.Errorf("%s is stored at the same place", other.Name)
					}
					prefixes[r.Prefix] = r
				}
			} else if !slices.Equal(r.Verbs, createOnly) && r.Kind != "ComponentStatus" {
				t.Errorf("verbs %v of what is not stored", r.Verbs)
			}
			f := r.Fields(r.Stored.New())
			for _, name := range r.FieldNames {
				if !f.Has(name) {
					t.Errorf("no field %s", name)
				}
			}
			if f.Has("spec.none") || f.Has("") {
				t.Error("has every field")
			}
			for _, s := range r.Subresources {
				if s.Kind.Kind == "" {
					continue
				}
				if o := table.NewObject(s.Kind); o == nil || o.GetObjectKind().GroupVersionKind() != s.Kind {
					t.Errorf("%s: no object of kind %v", s.Name, s.Kind)
				}
			}
		})
	}
	if g := table.Groups()[0]; g.Name != "" || !slices.Equal(g.Versions, []string{"v1"}) {
		t.Errorf("first group %v", g)
	}
	for _, r := range table.Validated().Resources() {
		if r.Unvalidated {
			t.Errorf("%s is not validated", r.Name)
		}
	}
}

// Keys are upstream's, byte for byte.
func TestKeys(t *testing.T) {
	table := New()
	tests := []struct{ group, resource, namespace, name, want string }{
		{"", "pods", "default", "p", "/registry/pods/default/p"},
		{"", "pods", "default", "", "/registry/pods/default/"},
		{"", "pods", "", "", "/registry/pods/"},
		{"", "nodes", "", "n", "/registry/minions/n"},
		{"", "services", "default", "kubernetes", "/registry/services/specs/default/kubernetes"},
		{"", "endpoints", "default", "kubernetes", "/registry/services/endpoints/default/kubernetes"},
		{"", "replicationcontrollers", "a", "b", "/registry/controllers/a/b"},
		{"networking.k8s.io", "ingresses", "a", "b", "/registry/ingress/a/b"},
		{"events.k8s.io", "events", "a", "b", "/registry/events/a/b"},
		{"apps", "deployments", "a", "b", "/registry/deployments/a/b"},
		{"coordination.k8s.io", "leases", "kube-node-lease", "n", "/registry/leases/kube-node-lease/n"},
		{"rbac.authorization.k8s.io", "clusterroles", "", "admin", "/registry/clusterroles/admin"},
	}
	for _, tt := range tests {
		if got := table.ByPath(tt.group, "v1", tt.resource).Key(tt.namespace, tt.name); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.resource, got, tt.want)
		}
	}
}

func TestFields(t *testing.T) {
	table := New()
	pods := table.ByPath("", "v1", "pods")
	p := plainPod()
	p.Spec.NodeName = "n1"
	for _, tt := range []struct {
		selector string
		match    bool
	}{
		{"spec.nodeName=n1", true}, {"spec.nodeName!=n1", false}, {"metadata.name=" + p.Name + ",status.phase=Running", true},
		{"metadata.namespace=other", false}, {"spec.hostNetwork=false", true}, {"spec.schedulerName=default-scheduler", true},
	} {
		s, err := fields.ParseSelector(tt.selector)
		if err != nil {
			t.Fatal(err)
		}
		if err := pods.CheckFields(s); err != nil {
			t.Error(err)
		}
		if s.Matches(pods.Fields(p)) != tt.match {
			t.Errorf("%s matches: %v", tt.selector, !tt.match)
		}
	}
	err := pods.CheckFields(fields.OneTermEqualSelector("spec.foo", "x"))
	if err == nil || err.Error() != "field label not supported: spec.foo" {
		t.Errorf("error %v", err)
	}
	if err := table.ByPath("events.k8s.io", "v1", "events").CheckFields(fields.OneTermEqualSelector("regarding.name", "x")); err != nil {
		t.Error(err)
	}
}

// Events are the same in either group.
func TestEventConversion(t *testing.T) {
	table := New()
	r := table.ByPath("events.k8s.io", "v1", "events")
	if r.Stored != table.ByPath("", "v1", "events") {
		t.Fatal("not stored as core's")
	}
	for _, obj := range examples(t, r) {
		stored, err := r.ToStored(obj)
		if err != nil {
			t.Fatal(err)
		}
		if got := stored.GetObjectKind().GroupVersionKind(); got != r.Stored.GroupVersionKind() {
			t.Errorf("stored as %v", got)
		}
		back, err := r.FromStored(stored)
		if err != nil {
			t.Fatal(err)
		}
		if !apiequality.Semantic.DeepEqual(obj, back) {
			t.Errorf("round trip: %s", cmp.Diff(obj, back))
		}
	}
	if _, err := r.ToStored(table.NewObject(schema.GroupVersionKind{Version: "v1", Kind: "Pod"})); err == nil {
		t.Error("a pod is an event")
	}
}
