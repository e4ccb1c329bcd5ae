package apiserver_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"clipper/internal/apiserver"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	testclock "k8s.io/utils/clock/testing"
)

// owners tells who owns what, an entry a line: manager, operation, path,
// seconds since the start, and the fields.
func owners(start time.Time, m metav1.Object) string {
	var lines []string
	for _, e := range m.GetManagedFields() {
		lines = append(lines, fmt.Sprintf("%s %s %s/%s +%d %s", e.Manager, e.Operation, e.APIVersion, e.Subresource,
			int(e.Time.Sub(start).Seconds()), strings.ReplaceAll(string(e.FieldsV1.Raw), `"`, "")))
	}
	return strings.Join(lines, "\n")
}

func TestOwnershipOfEveryWrite(t *testing.T) {
	begin := time.Unix(1_700_000_000, 0)
	clock := testclock.NewFakeClock(begin)
	c := start(t, func(c *apiserver.Config) { c.Clock = clock })
	ctx := t.Context()
	maps := c.admin(runtime.ContentTypeProtobuf).CoreV1().ConfigMaps("default")
	var m *corev1.ConfigMap
	patch := func(pt types.PatchType, manager, body string) func() (*corev1.ConfigMap, error) {
		return func() (*corev1.ConfigMap, error) {
			return maps.Patch(ctx, "m", pt, []byte(body), metav1.PatchOptions{FieldManager: manager})
		}
	}
	update := func(manager string, change func(*corev1.ConfigMap)) func() (*corev1.ConfigMap, error) {
		return func() (*corev1.ConfigMap, error) {
			n := m.DeepCopy()
			change(n)
			return maps.Update(ctx, n, metav1.UpdateOptions{FieldManager: manager})
		}
	}
	for _, step := range []struct {
		name string
		do   func() (*corev1.ConfigMap, error)
		same bool // nothing is written
		want string
	}{
		{"create, by the program's name", func() (*corev1.ConfigMap, error) {
			return maps.Create(ctx, &corev1.ConfigMap{
				ObjectMeta: metav1.ObjectMeta{Name: "m", Labels: map[string]string{"l": "1"}}, Data: map[string]string{"a": "1", "b": "1"},
			}, metav1.CreateOptions{})
		}, false, "test Update v1/ +1 {f:data:{.:{},f:a:{},f:b:{}},f:metadata:{f:labels:{.:{},f:l:{}}}}"},
		{"an update takes what it changes", update("two", func(m *corev1.ConfigMap) { m.Data["a"] = "2" }), false,
			"test Update v1/ +1 {f:data:{.:{},f:b:{}},f:metadata:{f:labels:{.:{},f:l:{}}}}\n" +
				"two Update v1/ +2 {f:data:{f:a:{}}}"},
		{"an update that changes nothing", update("three", func(*corev1.ConfigMap) {}), true, ""},
		{"what one owns already", update("two", func(m *corev1.ConfigMap) { m.Data["a"] = "3" }), false,
			"test Update v1/ +1 {f:data:{.:{},f:b:{}},f:metadata:{f:labels:{.:{},f:l:{}}}}\n" +
				"two Update v1/ +4 {f:data:{f:a:{}}}"},
		{"a client that leaves managedFields out", update("two", func(m *corev1.ConfigMap) { m.ManagedFields = nil }), true, ""},
		{"a merge patch", patch(types.MergePatchType, "merge", `{"data":{"b":null,"c":"1"}}`), false,
			"test Update v1/ +1 {f:data:{},f:metadata:{f:labels:{.:{},f:l:{}}}}\n" +
				"two Update v1/ +4 {f:data:{f:a:{}}}\n" +
				"merge Update v1/ +6 {f:data:{f:c:{}}}"},
		{"a strategic merge patch", patch(types.StrategicMergePatchType, "strategic", `{"metadata":{"labels":{"l":"2"}}}`), false,
			"test Update v1/ +1 {f:data:{},f:metadata:{f:labels:{}}}\n" +
				"two Update v1/ +4 {f:data:{f:a:{}}}\n" +
				"merge Update v1/ +6 {f:data:{f:c:{}}}\n" +
				"strategic Update v1/ +7 {f:metadata:{f:labels:{f:l:{}}}}"},
		{"a JSON patch", patch(types.JSONPatchType, "json", `[{"op":"replace","path":"/data","value":{"d":"1"}}]`), false,
			"test Update v1/ +1 {f:data:{},f:metadata:{f:labels:{}}}\n" +
				"strategic Update v1/ +7 {f:metadata:{f:labels:{f:l:{}}}}\n" +
				"json Update v1/ +8 {f:data:{f:d:{}}}"},
		{"an apply shares what it agrees to", patch(types.ApplyYAMLPatchType, "apply", "apiVersion: v1\nkind: ConfigMap\ndata: {d: '1'}"), false,
			"apply Apply v1/ +9 {f:data:{f:d:{}}}\n" +
				"test Update v1/ +1 {f:data:{},f:metadata:{f:labels:{}}}\n" +
				"strategic Update v1/ +7 {f:metadata:{f:labels:{f:l:{}}}}\n" +
				"json Update v1/ +8 {f:data:{f:d:{}}}"},
		{"the same again", patch(types.ApplyYAMLPatchType, "apply", "apiVersion: v1\nkind: ConfigMap\ndata: {d: '1'}"), true, ""},
		{"entries that a client sends", update("edit", func(m *corev1.ConfigMap) {
			m.ManagedFields = m.ManagedFields[:1]
			m.ManagedFields[0].Manager = "renamed"
			m.Data["d"] = "2"
		}), false, "edit Update v1/ +11 {f:data:{f:d:{}}}"},
		{"entries that cannot be read", update("edit", func(m *corev1.ConfigMap) {
			m.ManagedFields[0].FieldsV1.Raw = []byte(`{"f:data":1}`)
			m.Data["d"] = "3"
		}), false, "edit Update v1/ +12 {f:data:{f:d:{}}}"},
		{"an empty list ends it", patch(types.MergePatchType, "merge", `{"metadata":{"managedFields":[]}}`), false, ""},
		{"and nothing begins it", update("edit", func(m *corev1.ConfigMap) { m.Data["d"] = "4" }), false, ""},
		{"but an apply", patch(types.ApplyYAMLPatchType, "apply", "apiVersion: v1\nkind: ConfigMap\ndata: {d: '4'}"), false,
			"apply Apply v1/ +15 {f:data:{f:d:{}}}\n" +
				"before-first-apply Update v1/ +15 {f:data:{.:{},f:d:{}},f:metadata:{f:labels:{.:{},f:l:{}}}}"},
		{"an empty entry ends it too", patch(types.JSONPatchType, "x", `[{"op":"replace","path":"/metadata/managedFields","value":[{}]}]`), false, ""},
	} {
		clock.Step(time.Second)
		n, err := step.do()
		if err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if got := owners(begin, n); !step.same && got != step.want {
			t.Errorf("%s:\nwant %s\ngot  %s", step.name, step.want, got)
		}
		if step.same && (n.ResourceVersion != m.ResourceVersion || owners(begin, n) != owners(begin, m)) {
			t.Errorf("%s: it was written\nwas %s\nis  %s", step.name, owners(begin, m), owners(begin, n))
		}
		m = n
	}
}

func TestOwnershipOfSubresources(t *testing.T) {
	begin := time.Unix(1_700_000_000, 0)
	clock := testclock.NewFakeClock(begin)
	c := start(t, func(c *apiserver.Config) { c.Clock = clock })
	ctx := t.Context()
	k := c.admin(runtime.ContentTypeJSON)
	ds := k.AppsV1().Deployments("default")
	d, err := ds.Create(ctx, aDeployment("d"), metav1.CreateOptions{FieldManager: "user"})
	if err != nil {
		t.Fatal(err)
	}
	has := func(d *appsv1.Deployment, line string) {
		t.Helper()
		for _, got := range strings.Split(owners(begin, d), "\n") {
			if got == line {
				return
			}
		}
		t.Errorf("want %s among\n%s", line, owners(begin, d))
	}
	// The status path owns status alone, the object's path all else.
	d.Status.Replicas, d.Spec.Paused, d.Labels = 3, true, map[string]string{"a": "b"}
	if d, err = ds.UpdateStatus(ctx, d, metav1.UpdateOptions{FieldManager: "controller"}); err != nil {
		t.Fatal(err)
	}
	has(d, "controller Update apps/v1/status +0 {f:status:{f:replicas:{}}}")
	version := d.ResourceVersion
	d.Status.Replicas = 7
	if d, err = ds.Update(ctx, d, metav1.UpdateOptions{FieldManager: "thief"}); err != nil || d.Status.Replicas != 3 || d.ResourceVersion != version {
		t.Errorf("%+v %v", d, err)
	}
	has(d, "controller Update apps/v1/status +0 {f:status:{f:replicas:{}}}")

	// Whoever scales owns the replicas, in the version of the object.
	clock.Step(time.Second)
	scale := &autoscalingv1.Scale{ObjectMeta: metav1.ObjectMeta{Name: "d"}, Spec: autoscalingv1.ScaleSpec{Replicas: 5}}
	if _, err := ds.UpdateScale(ctx, "d", scale, metav1.UpdateOptions{FieldManager: "scaler"}); err != nil {
		t.Fatal(err)
	}
	if d, err = ds.Get(ctx, "d", metav1.GetOptions{}); err != nil {
		t.Fatal(err)
	}
	has(d, "scaler Update apps/v1/scale +1 {f:spec:{f:replicas:{}}}")
	const applied = "apiVersion: autoscaling/v1\nkind: Scale\nspec: {replicas: 6}"
	applyScale := func(force bool) error {
		_, err := ds.Patch(ctx, "d", types.ApplyYAMLPatchType, []byte(applied), metav1.PatchOptions{FieldManager: "hpa", Force: &force}, "scale")
		return err
	}
	if err := applyScale(false); !apierrors.IsConflict(err) || !strings.Contains(err.Error(), `conflict with "scaler" with subresource "scale" using autoscaling/v1: .spec.replicas`) {
		t.Error(err)
	}
	if err := applyScale(true); err != nil {
		t.Fatal(err)
	}
	if d, err = ds.Get(ctx, "d", metav1.GetOptions{}); err != nil || *d.Spec.Replicas != 6 {
		t.Fatal(d, err)
	}
	has(d, "hpa Apply apps/v1/scale +1 {f:spec:{f:replicas:{}}}")
	if strings.Contains(owners(begin, d), "scaler") {
		t.Error(owners(begin, d))
	}
	whole := "apiVersion: apps/v1\nkind: Deployment\nspec: {replicas: 1}"
	_, err = ds.Patch(ctx, "d", types.ApplyYAMLPatchType, []byte(whole), metav1.PatchOptions{FieldManager: "user"})
	if err == nil || err.Error() != `Apply failed with 1 conflict: conflict with "hpa" with subresource "scale": .spec.replicas` {
		t.Error(err)
	}

	// Nobody comes to own what a binding sets, or what is filled in later.
	p := makePod(t, k, aPod("p", ""))
	if err := k.CoreV1().Pods("default").Bind(ctx, &corev1.Binding{
		ObjectMeta: metav1.ObjectMeta{Name: "p"}, Target: corev1.ObjectReference{Kind: "Node", Name: "n"},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	bound, err := k.CoreV1().Pods("default").Get(ctx, "p", metav1.GetOptions{})
	if err != nil || owners(begin, bound) != owners(begin, p) || strings.Contains(owners(begin, p), "f:status") {
		t.Errorf("%s\n%s %v", owners(begin, p), owners(begin, bound), err)
	}
	bound.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{
		Name: "e", Image: "i", ImagePullPolicy: "Always", TerminationMessagePolicy: "File",
	}}}
	bound, err = k.CoreV1().Pods("default").UpdateEphemeralContainers(ctx, "p", bound, metav1.UpdateOptions{FieldManager: "debug"})
	if err != nil || !strings.Contains(owners(begin, bound), "debug Update v1/ephemeralcontainers +1 {f:spec:{f:ephemeralContainers:{.:{},k:{\\name\\:\\e\\}:{.:{}") {
		t.Errorf("%s %v", owners(begin, bound), err)
	}
}

// An object that many write does not grow with them.
func TestAncientOwners(t *testing.T) {
	begin := time.Unix(1_700_000_000, 0)
	clock := testclock.NewFakeClock(begin)
	c := start(t, func(c *apiserver.Config) { c.Clock = clock })
	maps := c.admin(runtime.ContentTypeProtobuf).CoreV1().ConfigMaps("default")
	m, err := maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "m"}, Data: map[string]string{"k": ""}}, metav1.CreateOptions{FieldManager: "w0"})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 14 {
		clock.Step(time.Second)
		m.Data[fmt.Sprint("k", i+1)] = ""
		if m, err = maps.Update(t.Context(), m, metav1.UpdateOptions{FieldManager: fmt.Sprint("w", i+1)}); err != nil {
			t.Fatal(err)
		}
	}
	lines := strings.Split(owners(begin, m), "\n")
	if want := "ancient-changes Update v1/ +5 {f:data:{.:{},f:k:{},f:k1:{},f:k2:{},f:k3:{},f:k4:{},f:k5:{}}}"; len(lines) != 10 || lines[0] != want {
		t.Errorf("want %s first of 10:\n%s", want, strings.Join(lines, "\n"))
	}
}

// What is owned is said in the version that was written, and holds in all.
func TestOwnershipOfVersions(t *testing.T) {
	c := start(t)
	ctx := t.Context()
	k := c.admin(runtime.ContentTypeJSON)
	e, err := k.EventsV1().Events("default").Create(ctx, &eventsv1.Event{
		ObjectMeta: metav1.ObjectMeta{Name: "e"}, Note: "note", Reason: "Did", Type: "Normal", Action: "Doing",
		EventTime: metav1.NewMicroTime(time.Unix(1, 0)), ReportingController: "c", ReportingInstance: "i",
		Regarding: corev1.ObjectReference{Kind: "Pod", Name: "p", Namespace: "default"},
	}, metav1.CreateOptions{FieldManager: "new"})
	if err != nil || !strings.Contains(owners(time.Time{}, e), "f:note:{}") {
		t.Fatal(e, err)
	}
	n, err := k.CoreV1().Events("default").Patch(ctx, "e", types.MergePatchType, []byte(`{"message":"other"}`), metav1.PatchOptions{FieldManager: "old"})
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range n.ManagedFields {
		fields := string(entry.FieldsV1.Raw)
		switch entry.APIVersion {
		case eventsv1.SchemeGroupVersion.String():
			if strings.Contains(fields, "f:note") {
				t.Errorf("%s still owns %s", entry.Manager, fields)
			}
		case "v1":
			if fields != `{"f:message":{}}` || entry.Manager != "old" {
				t.Errorf("%s owns %s", entry.Manager, fields)
			}
		}
	}
	if len(n.ManagedFields) != 2 {
		t.Errorf("%+v", n.ManagedFields)
	}
}
