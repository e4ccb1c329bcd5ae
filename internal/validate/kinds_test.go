package validate

import (
	"testing"

	"clipper/internal/cel"
	"clipper/internal/scheme"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/randfill"
)

// Every kind that is stored has a row, and every row is of a kind, as it is
// stored or as it is served.
func TestKinds(t *testing.T) {
	table := scheme.New()
	rules := New(table, cel.NewCompiler())
	judged := map[schema.GroupResource]bool{}
	for _, r := range table.Resources() {
		if !r.IsStored() {
			continue
		}
		for _, of := range []schema.GroupResource{r.GroupResource(), r.Stored.GroupResource()} {
			if rules.byKind[of] != nil {
				judged[of] = true
			}
		}
		if rules.byKind[r.Stored.GroupResource()] == nil {
			t.Errorf("%s.%s has no rules", r.Name, r.Group)
		}
	}
	if len(judged) != len(rules.byKind) {
		t.Errorf("%d kinds are judged, %d have rules", len(judged), len(rules.byKind))
	}
}

// Rules never panic, and change nothing, whatever an object holds.
func TestArbitraryObjects(t *testing.T) {
	table := scheme.New()
	rules := New(table, cel.NewCompiler())
	for _, r := range table.Resources() {
		if !r.IsStored() || r.Stored != r {
			continue
		}
		t.Run(r.Name, func(t *testing.T) {
			for seed := range int64(60) {
				fill := filler(seed)
				objs := [2]runtime.Object{r.New(), r.New()}
				for i, obj := range objs {
					fill.Fill(obj)
					if seed%2 == int64(i) {
						r.Default(obj)
					}
				}
				was := [2]runtime.Object{objs[0].DeepCopyObject(), objs[1].DeepCopyObject()}
				rules.Create(r, objs[0])
				rules.Update(r, objs[0], objs[1])
				rules.Update(r, objs[0], was[0])
				rules.Update(r, objs[0], r.New())
				for _, s := range r.Subresources {
					rules.UpdateSubresource(r, s.Name, objs[0], objs[1])
				}
				for i := range objs {
					if !sameSpec(objs[i], was[i]) {
						t.Fatalf("seed %d: the object was changed", seed)
					}
				}
			}
		})
	}
}

func filler(seed int64) *randfill.Filler {
	texts := []string{"", "a", "A_", "x.io/y", "..", "/a/../b", "10.0.0.1", "::1", "10.0.0.0/8", "100%", "-1", "Always",
		"limits.cpu", "metadata.labels['a']", "['", "hugepages-2Mi", "None", "Localhost", "ClientIP", "example.com/a", "*/0"}
	return randfill.NewWithSeed(seed).NilChance(.3).NumElements(0, 3).MaxDepth(12).Funcs(
		func(s *string, c randfill.Continue) { *s = texts[c.Intn(len(texts))] },
		func(q *resource.Quantity, c randfill.Continue) {
			*q = *resource.NewMilliQuantity(c.Int63n(5000)-1000, resource.DecimalSI)
		},
		func(q *metav1.Time, c randfill.Continue) {},
		func(q *metav1.MicroTime, c randfill.Continue) {},
		func(r *runtime.RawExtension, c randfill.Continue) { r.Raw = []byte("{}") },
		func(f *metav1.FieldsV1, c randfill.Continue) {},
		func(n *corev1.PodOS, c randfill.Continue) {
			n.Name = []corev1.OSName{"", "linux", "windows", "x"}[c.Intn(4)]
		},
	)
}

func BenchmarkPod(b *testing.B) {
	table := scheme.New()
	rules := New(table, cel.NewCompiler())
	r := table.ByPath("", "v1", "pods")
	obj, _, err := table.Decode([]byte(typicalPod), scheme.YAML, r.GroupVersionKind(), scheme.Strict)
	if err != nil {
		b.Fatal(err)
	}
	r.Default(obj)
	b.Run("create", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if errs, _ := rules.Create(r, obj); len(errs) > 0 {
				b.Fatal(errs)
			}
		}
	})
	b.Run("status", func(b *testing.B) {
		old := obj.DeepCopyObject()
		obj.(*corev1.Pod).ResourceVersion = "1"
		b.ReportAllocs()
		for b.Loop() {
			if errs, _ := rules.UpdateSubresource(r, "status", obj, old); len(errs) > 0 {
				b.Fatal(errs)
			}
		}
	})
	b.Run("update", func(b *testing.B) {
		old := obj.DeepCopyObject()
		obj.(*corev1.Pod).ResourceVersion = "1"
		b.ReportAllocs()
		for b.Loop() {
			if errs, _ := rules.Update(r, obj, old); len(errs) > 0 {
				b.Fatal(errs)
			}
		}
	})
}

// typicalPod is as a ReplicaSet makes it, after admission.
const typicalPod = `
metadata:
  name: web-6d4cf56db6-abcde
  namespace: default
  generateName: web-6d4cf56db6-
  labels: {app: web, pod-template-hash: 6d4cf56db6}
  ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: web-6d4cf56db6, uid: a-b, controller: true, blockOwnerDeletion: true}]
spec:
  serviceAccountName: default
  containers:
  - name: web
    image: nginx:1.27
    ports: [{containerPort: 80}]
    env: [{name: A, value: b}, {name: NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
    resources: {limits: {cpu: 100m, memory: 64Mi}, requests: {cpu: 50m, memory: 32Mi}}
    readinessProbe: {httpGet: {port: 80}}
    volumeMounts:
    - {name: data, mountPath: /data}
    - {name: kube-api-access-abcde, mountPath: /var/run/secrets/kubernetes.io/serviceaccount, readOnly: true}
  tolerations:
  - {key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 300}
  - {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 300}
  volumes:
  - {name: data, emptyDir: {}}
  - name: kube-api-access-abcde
    projected:
      sources:
      - serviceAccountToken: {path: token, expirationSeconds: 3607}
      - configMap: {name: kube-root-ca.crt, items: [{key: ca.crt, path: ca.crt}]}
      - downwardAPI: {items: [{path: namespace, fieldRef: {fieldPath: metadata.namespace}}]}
`
