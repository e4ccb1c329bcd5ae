package table

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	testclock "k8s.io/utils/clock/testing"

	"clipper/internal/scheme"
)

var now = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func decode(t *testing.T, table *scheme.Table, body string) (*scheme.Resource, runtime.Object) {
	t.Helper()
	var m metav1.TypeMeta
	for _, line := range strings.Split(strings.TrimSpace(body), "\n") {
		if v, ok := strings.CutPrefix(line, "apiVersion: "); ok {
			m.APIVersion = v
		}
		if v, ok := strings.CutPrefix(line, "kind: "); ok {
			m.Kind = v
		}
	}
	r := table.ByKind(schema.FromAPIVersionAndKind(m.APIVersion, m.Kind))
	if r == nil {
		t.Fatalf("no kind %v", m)
	}
	obj, _, err := table.Decode([]byte(body), scheme.YAML, r.GroupVersionKind(), scheme.Strict)
	if err != nil {
		t.Fatal(err)
	}
	return r, obj
}

func TestRows(t *testing.T) {
	b, err := os.ReadFile("testdata/rows.yaml")
	if err != nil {
		t.Fatal(err)
	}
	table, c := scheme.New(), New(testclock.NewFakePassiveClock(now))
	for _, doc := range strings.Split(string(b), "\n---\n") {
		want, body, ok := strings.Cut(strings.TrimSpace(doc), "\n")
		if !ok || !strings.HasPrefix(want, "# ") {
			t.Fatalf("a document starts with its row in a comment: %s", doc)
		}
		r, obj := decode(t, table, body)
		got, err := c.Table(r, []runtime.Object{obj}, metav1.TableOptions{}, true)
		if err != nil {
			t.Fatal(err)
		}
		row := got.Rows[0]
		cells := make([]string, len(row.Cells))
		for i, cell := range row.Cells {
			cells[i] = fmt.Sprint(cell)
		}
		line := "# " + strings.Join(cells, " | ")
		for _, cond := range row.Conditions {
			line += " | " + string(cond.Type) + "=" + cond.Reason
		}
		if line != want {
			t.Errorf("%s\ngot  %s\nwant %s", body, line, want)
		}
	}
}

func TestHeaders(t *testing.T) {
	want := map[string]string{
		"pods":                   "Name Ready Status Restarts Age *IP *Node *Nominated-Node *Readiness-Gates",
		"deployments":            "Name Ready Up-to-date Available Age *Containers *Images *Selector",
		"replicasets":            "Name Desired Current Ready Age *Containers *Images *Selector",
		"services":               "Name Type Cluster-IP External-IP Port(s) Age *Selector",
		"nodes":                  "Name Status Roles Age Version *Internal-IP *External-IP *OS-Image *Kernel-Version *Container-Runtime",
		"namespaces":             "Name Status Age",
		"endpoints":              "Name Endpoints Age",
		"events":                 "Last-Seen Type Reason Object *Subobject *Source Message *First-Seen *Count *Name",
		"clusterroles":           "Name Created-At",
		"persistentvolumeclaims": "Name Status Volume Capacity Access-Modes StorageClass VolumeAttributesClass Age *VolumeMode",
		"priorityclasses":        "Name Value Global-Default Age PreemptionPolicy",
		"storageclasses":         "Name Provisioner ReclaimPolicy VolumeBindingMode AllowVolumeExpansion Age",
	}
	c := New(testclock.NewFakePassiveClock(now))
	for _, r := range scheme.New().Resources() {
		w, ok := want[r.Name]
		if !ok {
			continue
		}
		got, err := c.Table(r, nil, metav1.TableOptions{}, true)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, d := range got.ColumnDefinitions {
			n := strings.ReplaceAll(d.Name, " ", "-")
			if d.Priority > 0 {
				n = "*" + n
			}
			names = append(names, n)
		}
		if g := strings.Join(names, " "); g != w {
			t.Errorf("%s: %s, want %s", r.Name, g, w)
		}
		later, err := c.Table(r, nil, metav1.TableOptions{}, false)
		if err != nil || len(later.ColumnDefinitions) != 0 {
			t.Errorf("%s: columns though none were wanted", r.Name)
		}
	}
}

// Flow schemas come in the order in which requests meet them, by name where it
// is the same.
func TestOrder(t *testing.T) {
	table, c := scheme.New(), New(testclock.NewFakePassiveClock(now))
	var r *scheme.Resource
	var objs []runtime.Object
	for name, precedence := range []int{500, 1, 500, 10000, 2} {
		var obj runtime.Object
		r, obj = decode(t, table, fmt.Sprintf("apiVersion: flowcontrol.apiserver.k8s.io/v1\nkind: FlowSchema\nmetadata: {name: s%d}\nspec: {matchingPrecedence: %d}", name, precedence))
		objs = append(objs, obj)
	}
	got, err := c.Table(r, objs, metav1.TableOptions{}, true)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, row := range got.Rows {
		names = append(names, row.Cells[0].(string))
	}
	if g := strings.Join(names, " "); g != "s1 s4 s0 s2 s3" {
		t.Error(g)
	}
}

// Every stored kind, empty and with every field set, has a cell for each of
// its columns.
func TestEveryKind(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "k8s.io/api").Output()
	if err != nil {
		t.Fatal(err)
	}
	table, c := scheme.New(), New(testclock.NewFakePassiveClock(now))
	for _, r := range table.Resources() {
		if !r.IsStored() {
			continue
		}
		group := r.Group
		if group == "" {
			group = "core"
		}
		b, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(out)), "testdata/HEAD", group+"."+r.Version+"."+r.Kind+".json"))
		if errors.Is(err, os.ErrNotExist) {
			b, err = []byte("{}"), nil // of another module, which keeps none
		}
		if err != nil {
			t.Fatal(err)
		}
		full, _, err := table.Decode(b, scheme.JSON, r.GroupVersionKind(), scheme.Ignore)
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.Table(r, []runtime.Object{r.New(), full}, metav1.TableOptions{}, true)
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range got.Rows {
			if len(row.Cells) != len(got.ColumnDefinitions) {
				t.Errorf("%s: %d cells in %d columns", r.Kind, len(row.Cells), len(got.ColumnDefinitions))
			}
		}
		if _, err := json.Marshal(got); err != nil {
			t.Errorf("%s: %v", r.Kind, err)
		}
	}
}

func TestIncludeObject(t *testing.T) {
	table, c := scheme.New(), New(testclock.NewFakePassiveClock(now))
	r, obj := decode(t, table, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, uid: u}\ndata: {k: v}")
	for include, want := range map[metav1.IncludeObjectPolicy]string{
		metav1.IncludeNone:     `null`,
		metav1.IncludeMetadata: `{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{"name":"a","uid":"u"}}`,
		"":                     `{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{"name":"a","uid":"u"}}`,
		metav1.IncludeObject:   `{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a","uid":"u"},"data":{"k":"v"}}`,
	} {
		got, err := c.Table(r, []runtime.Object{obj}, metav1.TableOptions{IncludeObject: include}, true)
		if err != nil {
			t.Fatal(err)
		}
		b, err := json.Marshal(got.Rows[0].Object)
		if err != nil || string(b) != want {
			t.Errorf("%q: %s, want %s (%v)", include, b, want, err)
		}
		if got.Kind != "Table" || got.APIVersion != "meta.k8s.io/v1" {
			t.Errorf("type %v", got.TypeMeta)
		}
	}
	if _, err := c.Table(table.ByPath("", "v1", "pods"), []runtime.Object{obj}, metav1.TableOptions{}, true); err == nil {
		t.Error("a config map is shown as a pod")
	}
}
