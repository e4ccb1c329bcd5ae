package scheme

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// crowd gives a value empty lists and maps wherever there could be some.
func crowd(v reflect.Value, depth int) {
	if depth == 0 || !v.CanSet() && v.Kind() != reflect.Pointer {
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			if !v.CanSet() {
				return
			}
			v.Set(reflect.New(v.Type().Elem()))
		}
		crowd(v.Elem(), depth-1)
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Struct && depth%2 == 0 {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
			crowd(v.Index(0), depth-1)
		} else if v.Type().Elem().Kind() != reflect.Uint8 {
			v.Set(reflect.MakeSlice(v.Type(), 0, 0))
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
	case reflect.Struct:
		if reflect.PointerTo(v.Type()).Implements(ownJSON) {
			return
		}
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() && f.Name != "ObjectMeta" && f.Name != "TypeMeta" {
				crowd(v.Field(i), depth-1)
			}
		}
	}
}

// Every kind looks before it is stored as it does when it is read back.
func TestSettledIsAsStored(t *testing.T) {
	for _, r := range New().Resources() {
		if !r.IsStored() || r.Stored != r {
			continue
		}
		for _, depth := range []int{5, 6, 9, 10} {
			obj := r.New()
			crowd(reflect.ValueOf(obj), depth)
			value, err := EncodeStored(obj)
			if err != nil {
				t.Fatalf("%s: %v", r.Name, err)
			}
			r.Settle(obj)
			if after, err := EncodeStored(obj); err != nil || string(after) != string(value) {
				t.Errorf("%s: settled, other bytes are stored: %v", r.Name, err)
			}
			back, err := r.DecodeStored(value, 0)
			if err != nil {
				t.Fatalf("%s: %v", r.Name, err)
			}
			obj.(metav1.Object).SetResourceVersion("0")
			a, err := json.Marshal(obj)
			if err != nil {
				t.Fatal(err)
			}
			b, err := json.Marshal(back)
			if err != nil {
				t.Fatal(err)
			}
			if string(a) != string(b) {
				t.Errorf("%s, depth %d:\n\tsettled\t%.600s\n\tread\t%.600s", r.Name, depth, a, b)
			}
		}
	}
}

func TestSettle(t *testing.T) {
	table := New()
	for _, test := range []struct {
		group, name string
		obj         runtime.Object
		want        string
	}{
		{"rbac.authorization.k8s.io", "roles", &rbacv1.Role{Rules: []rbacv1.PolicyRule{}}, `{"metadata":{},"rules":null}`},
		{"autoscaling", "horizontalpodautoscalers", &autoscalingv2.HorizontalPodAutoscaler{Status: autoscalingv2.HorizontalPodAutoscalerStatus{CurrentMetrics: []autoscalingv2.MetricStatus{}}}, `null`},
		{"batch", "jobs", &batchv1.Job{Spec: batchv1.JobSpec{PodFailurePolicy: &batchv1.PodFailurePolicy{Rules: []batchv1.PodFailurePolicyRule{}}}}, `"podFailurePolicy":{"rules":null}`},
		{"", "secrets", &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "s"}, Data: map[string][]byte{"a": {}}}, `"data":{"a":""}`},
	} {
		for _, r := range table.Resources() {
			if r.Group == test.group && r.Name == test.name && r.Stored == r {
				r.Settle(test.obj)
				b, err := json.Marshal(test.obj)
				if err != nil || !strings.Contains(string(b), test.want) {
					t.Errorf("%s: %s has no %s", test.name, b, test.want)
				}
			}
		}
	}
}

func BenchmarkSettlePod(b *testing.B) {
	r := New().ByPath("", "v1", "pods")
	p := &corev1.Pod{Spec: corev1.PodSpec{Containers: make([]corev1.Container, 3), Volumes: make([]corev1.Volume, 4)}}
	b.ReportAllocs()
	for b.Loop() {
		r.Settle(p)
	}
}
