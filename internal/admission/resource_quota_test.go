package admission

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"
	"pgregory.net/rapid"
)

func quotaOf(name string, hard corev1.ResourceList) *corev1.ResourceQuota {
	return &corev1.ResourceQuota{ObjectMeta: meta("ns", name), Spec: corev1.ResourceQuotaSpec{Hard: hard}}
}

func quotaWorld(objects ...runtime.Object) *world {
	return newWorld(append([]runtime.Object{namespace("ns"), account("default")}, objects...)...)
}

func TestResourceQuota(t *testing.T) {
	done := pod("done", func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded })
	scoped := quotaOf("q", list("pods", "0"))
	scoped.Spec.Scopes = []corev1.ResourceQuotaScope{corev1.ResourceQuotaScopeBestEffort}
	classed := quotaOf("q", list("pods", "0"))
	classed.Spec.ScopeSelector = &corev1.ScopeSelector{MatchExpressions: []corev1.ScopedResourceSelectorRequirement{{
		ScopeName: corev1.ResourceQuotaScopePriorityClass, Operator: corev1.ScopeSelectorOpIn, Values: []string{"system-node-critical"},
	}}}
	service := func(kind corev1.ServiceType) *corev1.Service {
		return &corev1.Service{ObjectMeta: meta("ns", "s"), Spec: corev1.ServiceSpec{Type: kind, Ports: make([]corev1.ServicePort, 2)}}
	}
	small := resources(list("cpu", "100m", "memory", "100Mi"), list("cpu", "200m", "memory", "200Mi"))
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: meta("ns", "v"), Spec: corev1.PersistentVolumeClaimSpec{
		StorageClassName: ptr.To("fast"), Resources: corev1.VolumeResourceRequirements{Requests: list("storage", "2Gi")}}}
	for _, test := range []struct {
		name  string
		world *world
		a     *Attributes
		want  string
	}{
		{"fits", quotaWorld(quotaOf("q", list("pods", "2")), pod("a")), create(pod("b")), ""},
		{"pods", quotaWorld(quotaOf("q", list("pods", "1")), pod("a")), create(pod("b")), `pods "b" is forbidden: exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1`},
		{"pods that ended", quotaWorld(quotaOf("q", list("pods", "1")), done), create(pod("b")), ""},
		{"pods that ended, counted", quotaWorld(quotaOf("q", list("count/pods", "1")), done), create(pod("b")), `pods "b" is forbidden: exceeded quota: q, requested: count/pods=1, used: count/pods=1, limited: count/pods=1`},
		{"another namespace", quotaWorld(&corev1.ResourceQuota{ObjectMeta: meta("other", "q"), Spec: corev1.ResourceQuotaSpec{Hard: list("pods", "0")}}), create(pod("b")), ""},
		{"cpu", quotaWorld(quotaOf("q", list("requests.cpu", "150m", "limits.memory", "1Gi")), pod("a", small)), create(pod("b", small)), `pods "b" is forbidden: exceeded quota: q, requested: requests.cpu=100m, used: requests.cpu=100m, limited: requests.cpu=150m`},
		{"two things", quotaWorld(quotaOf("q", list("cpu", "150m", "memory", "150Mi")), pod("a", small)), create(pod("b", small)), `pods "b" is forbidden: exceeded quota: q, requested: cpu=100m,memory=100Mi, used: cpu=100m,memory=100Mi, limited: cpu=150m,memory=150Mi`},
		{"unsaid", quotaWorld(quotaOf("q", list("limits.cpu", "1", "memory", "1Gi"))), create(pod("b")), `pods "b" is forbidden: failed quota: q: must specify limits.cpu for: c; memory for: c`},
		{"second quota", quotaWorld(quotaOf("a", list("pods", "9")), quotaOf("b", list("pods", "0"))), create(pod("p")), `pods "p" is forbidden: exceeded quota: b, requested: pods=1, used: pods=0, limited: pods=0`},
		{"in scope", quotaWorld(scoped), create(pod("p")), `pods "p" is forbidden: exceeded quota: q, requested: pods=1, used: pods=0, limited: pods=0`},
		{"out of scope", quotaWorld(scoped), create(pod("p", small)), ""},
		{"of the class", quotaWorld(classed), create(pod("p", func(p *corev1.Pod) { p.Spec.PriorityClassName = "system-node-critical" })), `pods "p" is forbidden: exceeded quota: q, requested: pods=1, used: pods=0, limited: pods=0`},
		{"of no class", quotaWorld(classed), create(pod("p")), ""},
		{"node ports", quotaWorld(quotaOf("q", list("services.nodeports", "1"))), create(service(corev1.ServiceTypeNodePort)), `services "s" is forbidden: exceeded quota: q, requested: services.nodeports=2, used: services.nodeports=0, limited: services.nodeports=1`},
		{"cluster IP", quotaWorld(quotaOf("q", list("services.nodeports", "1"))), create(service(corev1.ServiceTypeClusterIP)), ""},
		{"becomes a node port", quotaWorld(quotaOf("q", list("services.nodeports", "1", "services", "1")), service(corev1.ServiceTypeClusterIP)),
			update(service(corev1.ServiceTypeNodePort), service(corev1.ServiceTypeClusterIP)), `services "s" is forbidden: exceeded quota: q, requested: services.nodeports=2, used: services.nodeports=0, limited: services.nodeports=1`},
		{"an update of what there is", quotaWorld(quotaOf("q", list("services", "0")), service(corev1.ServiceTypeClusterIP)), update(service(corev1.ServiceTypeClusterIP), service(corev1.ServiceTypeClusterIP)), ""},
		{"storage", quotaWorld(quotaOf("q", list("fast.storageclass.storage.k8s.io/requests.storage", "1Gi"))), create(claim), `persistentvolumeclaims "v" is forbidden: exceeded quota: q, requested: fast.storageclass.storage.k8s.io/requests.storage=2Gi, used: fast.storageclass.storage.k8s.io/requests.storage=0, limited: fast.storageclass.storage.k8s.io/requests.storage=1Gi`},
		{"any kind", quotaWorld(quotaOf("q", list("count/configmaps", "0"))), create(&corev1.ConfigMap{ObjectMeta: meta("ns", "m")}), `configmaps "m" is forbidden: exceeded quota: q, requested: count/configmaps=1, used: count/configmaps=0, limited: count/configmaps=0`},
	} {
		t.Run(test.name, func(t *testing.T) { says(t, test.world.chain().pass(t.Context(), test.a), test.want) })
	}
}

// However many write at once, exactly as much gets in as fits, also when an
// object is seen before its writer has said that it is done, and when writes fail.
func TestResourceQuotaUnderConcurrency(t *testing.T) {
	const limit, writers = 20, 100
	w := quotaWorld(quotaOf("q", list("pods", fmt.Sprint(limit))))
	chain := w.chain()
	var group sync.WaitGroup
	var mu sync.Mutex
	made, refused := 0, 0
	for i := range writers {
		group.Go(func() {
			p := pod(fmt.Sprint("p", i))
			a := create(p)
			err := chain.pass(context.Background(), a)
			if err == nil && i%5 == 0 {
				a.Finish(errors.New("conflict"))
				return
			}
			if err == nil {
				w.add(p)
				a.Finish(nil)
			} else {
				a.Finish(err)
				if !strings.Contains(err.Error(), "used: pods=20") {
					t.Error(err)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				made++
			} else {
				refused++
			}
		})
	}
	group.Wait()
	if made != limit {
		t.Errorf("%d pods were let in, want %d (%d refused)", made, limit, refused)
	}
	if p := chain.validate.calls[len(chain.validate.calls)-1].Plugin.(*ResourceQuota); len(p.ledgers) != 0 {
		t.Error("reservations are left over")
	}
}

// A tally that is brought up to date is what counting anew gives.
func TestTally(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		scoped := quotaOf("b", list("pods", "1", "count/pods", "1"))
		scoped.Spec.Scopes = []corev1.ResourceQuotaScope{corev1.ResourceQuotaScopeBestEffort}
		quotas := []*corev1.ResourceQuota{quotaOf("a", list("pods", "1", "cpu", "1", "limits.memory", "1")), scoped}
		kept := newTally(quotas)
		objects := map[string]runtime.Object{}
		now := birth
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			name := fmt.Sprint(rapid.IntRange(0, 5).Draw(t, "pod"))
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0:
				delete(objects, name)
			case 1:
				objects[name] = pod(name)
			case 2:
				amount := list("cpu", fmt.Sprint(rapid.IntRange(0, 3).Draw(t, "cpu")))
				objects[name] = pod(name, resources(amount, list("memory", fmt.Sprint(rapid.IntRange(0, 3).Draw(t, "memory")))))
			case 3:
				objects[name] = pod(name, func(p *corev1.Pod) {
					p.DeletionTimestamp = &metav1.Time{Time: now}
					p.DeletionGracePeriodSeconds = ptr.To[int64](30)
				})
			}
			now = now.Add(time.Duration(rapid.IntRange(0, 40).Draw(t, "seconds")) * time.Second)
			all := slices.Collect(maps.Values(objects))
			kept.count(pods, all, now)
			fresh := newTally(quotas)
			fresh.count(pods, all, now)
			for _, q := range quotas {
				for name := range q.Spec.Hard {
					got, want := kept.totals[q.Name][name], fresh.totals[q.Name][name]
					if got.Cmp(want) != 0 {
						t.Fatalf("quota %s: %s is %s, counted anew %s", q.Name, name, got.String(), want.String())
					}
				}
			}
		}
	})
}

func BenchmarkResourceQuota(b *testing.B) {
	w := quotaWorld(quotaOf("q", list("pods", "5000", "requests.cpu", "5000")))
	for i := range 1000 {
		w.objects = append(w.objects, pod(fmt.Sprint(i), resources(list("cpu", "100m"), nil)))
	}
	chain := w.chain()
	p := pod("new", resources(list("cpu", "100m"), nil))
	b.ReportAllocs()
	for b.Loop() {
		a := create(p)
		if err := chain.Validate(context.Background(), a); err != nil {
			b.Fatal(err)
		}
		a.Finish(nil)
	}
}
