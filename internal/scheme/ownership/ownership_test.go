package ownership

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"clipper/internal/scheme"
)

const web = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: default, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: c, image: "nginx:1"}
`

func TestApply(t *testing.T) {
	table := scheme.New()
	tr := New(table)
	r := table.ByPath("apps", "v1", "deployments")

	created, warnings, err := tr.Apply(Write{Resource: r, Manager: "alice", Time: noon}, r.New(), []byte(web), false, scheme.Strict)
	if err != nil || len(warnings) > 0 {
		t.Fatal(warnings, err)
	}
	d := created.(*appsv1.Deployment)
	if *d.Spec.Replicas != 2 || d.Spec.Template.Spec.Containers[0].Image != "nginx:1" || d.Kind != "Deployment" {
		t.Errorf("created %+v", d)
	}
	if len(d.ManagedFields) != 1 || d.ManagedFields[0].Manager != "alice" || d.ManagedFields[0].Operation != metav1.ManagedFieldsOperationApply {
		t.Errorf("managedFields %+v", d.ManagedFields)
	}

	// Another manager may not take the field without force.
	other := strings.Replace(web, "replicas: 2", "replicas: 3", 1)
	_, _, err = tr.Apply(Write{Resource: r, Manager: "bob", Time: noon}, d, []byte(other), false, scheme.Strict)
	if !apierrors.IsConflict(err) {
		t.Fatalf("error %v", err)
	}
	if want := `Apply failed with 1 conflict: conflict with "alice": .spec.replicas`; err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
	forced, _, err := tr.Apply(Write{Resource: r, Manager: "bob", Time: noon}, d, []byte(other), true, scheme.Strict)
	if err != nil || *forced.(*appsv1.Deployment).Spec.Replicas != 3 {
		t.Fatalf("forced: %v", err)
	}

	// A plain write of a tracked object takes the fields it changes.
	scaled := d.DeepCopy()
	scaled.Spec.Replicas = new(int32(7))
	if err := tr.Update(Write{Resource: r, Manager: "carol", Time: noon}, d, scaled); err != nil {
		t.Fatal(err)
	}
	_, _, err = tr.Apply(Write{Resource: r, Manager: "alice", Time: noon}, scaled, []byte(web), false, scheme.Strict)
	if want := `Apply failed with 1 conflict: conflict with "carol" using apps/v1: .spec.replicas`; err == nil || err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}

	_, _, err = tr.Apply(Write{Resource: r, Manager: "alice", Time: noon}, r.New(), []byte(web+"  foo: 1\n"), false, scheme.Strict)
	if err == nil || !strings.Contains(err.Error(), "failed to create typed patch object (default/web; apps/v1, Kind=Deployment): .spec.foo: field not declared in schema") {
		t.Errorf("unknown field: %v", err)
	}
}

func TestFirstApplyOfUntracked(t *testing.T) {
	table := scheme.New()
	tr := New(table)
	r := table.ByPath("apps", "v1", "deployments")
	obj, _, err := table.Decode([]byte(web), scheme.YAML, r.GroupVersionKind(), scheme.Strict)
	if err != nil {
		t.Fatal(err)
	}
	out, _, err := tr.Apply(Write{Resource: r, Manager: "alice", Time: noon}, obj, []byte(web), false, scheme.Strict)
	if err != nil {
		t.Fatal(err)
	}
	managers := map[string]bool{}
	for _, m := range out.(*appsv1.Deployment).ManagedFields {
		managers[m.Manager] = true
	}
	if !managers["alice"] || !managers["before-first-apply"] {
		t.Errorf("managers %v", managers)
	}
	// What the manager no longer applies goes, unless it has another owner.
	if got := obj.(*appsv1.Deployment).ManagedFields; len(got) != 0 {
		t.Errorf("live object was changed: %v", got)
	}
}

func BenchmarkFirstApply(b *testing.B) {
	table := scheme.New()
	r := table.ByPath("apps", "v1", "deployments")
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := New(table).Apply(Write{Resource: r, Manager: "alice", Time: noon}, r.New(), []byte(web), false, scheme.Strict); err != nil {
			b.Fatal(err)
		}
	}
}

// What a manager stops applying goes; what others own stays.
func TestApplyTakesBack(t *testing.T) {
	table := scheme.New()
	tr := New(table)
	r := table.ByPath("", "v1", "configmaps")
	apply := func(live runtime.Object, manager, data string) *corev1.ConfigMap {
		t.Helper()
		obj, _, err := tr.Apply(Write{Resource: r, Manager: manager, Time: noon}, live, []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: "+data), false, scheme.Strict)
		if err != nil {
			t.Fatal(err)
		}
		return obj.(*corev1.ConfigMap)
	}
	c := apply(r.New(), "alice", `{a: "1", b: "2"}`)
	c = apply(c, "bob", `{b: "2", c: "3"}`)
	c = apply(c, "alice", `{}`)
	if got, want := fmt.Sprint(c.Data), "map[b:2 c:3]"; got != want {
		t.Errorf("data %s, want %s", got, want)
	}

	// Whoever sends managedFields emptied ends the tracking.
	cleared := c.DeepCopy()
	cleared.ManagedFields = []metav1.ManagedFieldsEntry{{}}
	carol := Write{Resource: r, Manager: "carol", Time: noon}
	if err := tr.Update(carol, c, cleared); err != nil || cleared.ManagedFields != nil {
		t.Errorf("still tracked: %v %v", cleared, err)
	}
	// Whoever leaves them out keeps them.
	silent := c.DeepCopy()
	silent.ManagedFields = nil
	if err := tr.Update(carol, c, silent); err != nil || len(silent.ManagedFields) == 0 {
		t.Errorf("no more tracked: %v %v", silent, err)
	}
}

// The status path owns status alone, the object's path all else.
func TestApplyStatus(t *testing.T) {
	table := scheme.New()
	tr := New(table)
	r := table.ByPath("apps", "v1", "deployments")
	created, _, err := tr.Apply(Write{Resource: r, Manager: "alice", Time: noon}, r.New(), []byte(web+"status: {replicas: 5}\n"), false, scheme.Strict)
	if err != nil {
		t.Fatal(err)
	}
	fields := string(created.(*appsv1.Deployment).ManagedFields[0].FieldsV1.Raw)
	if strings.Contains(fields, "f:status") || !strings.Contains(fields, "f:spec") {
		t.Errorf("alice owns %s", fields)
	}
	status := "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: default}\nstatus: {replicas: 2}\n"
	out, _, err := tr.Apply(Write{Resource: r, Subresource: "status", Manager: "controller", Time: noon}, created, []byte(status), false, scheme.Strict)
	if err != nil {
		t.Fatal(err)
	}
	d := out.(*appsv1.Deployment)
	if d.Status.Replicas != 2 || *d.Spec.Replicas != 2 {
		t.Errorf("%+v", d)
	}
	found := false
	for _, m := range d.ManagedFields {
		if m.Manager == "controller" {
			found = m.Subresource == "status" && strings.Contains(string(m.FieldsV1.Raw), "f:status") && !strings.Contains(string(m.FieldsV1.Raw), "f:spec")
		}
	}
	if !found {
		t.Errorf("managedFields %+v", d.ManagedFields)
	}
}

func TestApplyRefuses(t *testing.T) {
	table := scheme.New()
	tr := New(table)
	r := table.ByPath("", "v1", "configmaps")
	for body, want := range map[string]string{
		"":                      "invalid object type: /, Kind=",
		"{":                     "error decoding YAML",
		"[]":                    "error decoding YAML",
		"kind: ConfigMap\na: 1": "", // no apiVersion
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\nmetadata: {name: b}":                                             "error strict decoding YAML",
		"apiVersion: v2\nkind: ConfigMap\nmetadata: {name: a}":                                                                  "invalid object type: /v2, Kind=ConfigMap",
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, managedFields: [{manager: x, operation: Apply, apiVersion: v1}]}": "metadata.managedFields must be nil",
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: [1]":                                                       "",
	} {
		_, _, err := tr.Apply(Write{Resource: r, Manager: "m", Time: noon}, r.New(), []byte(body), false, scheme.Strict)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", body, err, want)
		}
		if status := apierrors.APIStatus(nil); err != nil && !errors.As(err, &status) {
			t.Errorf("%q: %T is no status", body, err)
		}
	}
}

// A kind whose schema contains itself, and that client-go does not know.
func TestApplyDefinition(t *testing.T) {
	table := scheme.New()
	tr := New(table)
	r := table.ByPath("apiextensions.k8s.io", "v1", "customresourcedefinitions")
	const crd = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: foos.example.test}
spec:
  group: example.test
  scope: Namespaced
  names: {plural: foos, kind: Foo}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {a: {type: string, default: x}}}}}}
`
	obj, _, err := tr.Apply(Write{Resource: r, Manager: "alice", Time: noon}, r.New(), []byte(crd), false, scheme.Strict)
	if err != nil {
		t.Fatal(err)
	}
	next := obj.DeepCopyObject().(*apiextensionsv1.CustomResourceDefinition)
	next.Status.Conditions = []apiextensionsv1.CustomResourceDefinitionCondition{{Type: "Established", Status: "True"}}
	if err := tr.Update(Write{Resource: r, Subresource: "status", Manager: "bob", Time: noon}, obj, next); err != nil {
		t.Fatal(err)
	}
	if got := string(next.ManagedFields[1].FieldsV1.Raw); !strings.Contains(got, `"k:{\"type\":\"Established\"}":{".":{}`) {
		t.Error(got)
	}
	if got := string(next.ManagedFields[0].FieldsV1.Raw); !strings.Contains(got, `"f:versions":{}`) {
		t.Error(got)
	}
}
