package scheme

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
)

func kibibyte() *corev1.ConfigMap {
	c := &corev1.ConfigMap{}
	setType(c, "v1", "ConfigMap")
	c.Name, c.Namespace, c.UID, c.ResourceVersion = "config-0001", "default", "7d9f5c3e-1111-2222-3333-444455556666", "12345"
	c.CreationTimestamp = metav1.Now().Rfc3339Copy()
	c.Labels = map[string]string{"app": "bench"}
	c.Data = map[string]string{"value": strings.Repeat("x", 1024)}
	return c
}

func BenchmarkNewTable(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		New()
	}
}

func BenchmarkCodec(b *testing.B) {
	table := New()
	pod := examples(b, table.ByPath("", "v1", "pods"))[1]
	setType(pod, "v1", "Pod")
	for name, obj := range map[string]runtime.Object{"ConfigMap": kibibyte(), "BigPod": pod, "Pod": plainPod()} {
		gvk := obj.GetObjectKind().GroupVersionKind()
		for _, mt := range []MediaType{JSON, Protobuf} {
			body, err := Encode(nil, mt, obj)
			if err != nil {
				b.Fatal(err)
			}
			b.Run("encode/"+mt.String()+"/"+name, func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(len(body)))
				var dst []byte
				for b.Loop() {
					if dst, err = Encode(dst[:0], mt, obj); err != nil {
						b.Fatal(err)
					}
				}
			})
			for _, v := range []Validation{Ignore, Warn} {
				if v == Warn && mt == Protobuf {
					continue
				}
				b.Run("decode/"+mt.String()+"/"+name+"/"+[]string{"ignore", "warn"}[v], func(b *testing.B) {
					b.ReportAllocs()
					b.SetBytes(int64(len(body)))
					for b.Loop() {
						if _, _, err := table.Decode(body, mt, gvk, v); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
		}
	}
}

func plainPod() *corev1.Pod {
	p := &corev1.Pod{}
	setType(p, "v1", "Pod")
	p.Name, p.Namespace, p.Labels = "web-5d4f8c7b9-abcde", "default", map[string]string{"app": "web", "pod-template-hash": "5d4f8c7b9"}
	p.Spec.Containers = []corev1.Container{{Name: "web", Image: "nginx:1.25", Ports: []corev1.ContainerPort{{ContainerPort: 80}}}}
	defaultPod(p)
	p.Status.Phase = corev1.PodRunning
	p.Status.Conditions = []corev1.PodCondition{{Type: "Ready", Status: "True"}, {Type: "PodScheduled", Status: "True"}}
	p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "web", Ready: true, Image: "nginx:1.25", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}
	return p
}

func BenchmarkDefaultPod(b *testing.B) {
	p := plainPod()
	b.ReportAllocs()
	for b.Loop() {
		defaultPod(p)
	}
}

func BenchmarkList(b *testing.B) {
	r := New().ByPath("", "v1", "configmaps")
	meta := &metav1.ListMeta{ResourceVersion: "1"}
	for _, mt := range []MediaType{JSON, Protobuf} {
		one, err := Encode(nil, mt, kibibyte())
		if err != nil {
			b.Fatal(err)
		}
		items := make([][]byte, 5000)
		for _, i := range rand.New(rand.NewPCG(1, 1)).Perm(len(items)) {
			items[i] = bytes.Clone(one) // each somewhere else, as in a server
		}
		b.Run(mt.String(), func(b *testing.B) {
			b.ReportAllocs()
			var buf bytes.Buffer
			for b.Loop() {
				buf.Reset()
				write := r.WriteListJSON
				if mt == Protobuf {
					write = r.WriteListProtobuf
				}
				if err := write(&buf, meta, items); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkPatch(b *testing.B) {
	table := New()
	r := table.ByPath("", "v1", "pods")
	for pt, body := range map[types.PatchType]string{
		types.MergePatchType:          `{"metadata":{"labels":{"a":"b"}}}`,
		types.StrategicMergePatchType: `{"status":{"conditions":[{"type":"Ready","status":"False"}]}}`,
		types.JSONPatchType:           `[{"op":"add","path":"/metadata/labels/x","value":"y"}]`,
	} {
		b.Run(string(pt), func(b *testing.B) {
			b.ReportAllocs()
			current := plainPod()
			for b.Loop() {
				if _, _, err := table.Patch(r, current, pt, []byte(body), Warn); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
