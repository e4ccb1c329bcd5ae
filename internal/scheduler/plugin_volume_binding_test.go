package scheduler

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	corelisters "k8s.io/client-go/listers/core/v1"
	storagelisters "k8s.io/client-go/listers/storage/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/component-helpers/storage/volume"
)

// storage has a scheduler see claims, volumes and classes.
type storage struct {
	s                        *Scheduler
	claims, volumes, classes cache.Indexer
}

func newStorage(s *Scheduler) *storage {
	index := func() cache.Indexer {
		return cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc})
	}
	st := &storage{s, index(), index(), index()}
	*s.volumes = volumes{corelisters.NewPersistentVolumeClaimLister(st.claims), corelisters.NewPersistentVolumeLister(st.volumes), storagelisters.NewStorageClassLister(st.classes)}
	return st
}

func (st *storage) set(t *testing.T, objects ...runtime.Object) {
	t.Helper()
	for _, obj := range objects {
		var err error
		switch o := obj.(type) {
		case *v1.PersistentVolumeClaim:
			err = st.claims.Update(o)
			st.s.onClaim(o)
		case *v1.PersistentVolume:
			err = st.volumes.Update(o)
			st.s.onVolumes()
		case *storagev1.StorageClass:
			err = st.classes.Update(o)
			st.s.onVolumes()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func newClaim(name, class string, options ...func(*v1.PersistentVolumeClaim)) *v1.PersistentVolumeClaim {
	c := &v1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: "uid-claim", Annotations: map[string]string{}},
		Spec: v1.PersistentVolumeClaimSpec{
			StorageClassName: &class, AccessModes: []v1.PersistentVolumeAccessMode{v1.ReadWriteOnce},
			Resources: v1.VolumeResourceRequirements{Requests: v1.ResourceList{v1.ResourceStorage: resource.MustParse("1Gi")}},
		},
		Status: v1.PersistentVolumeClaimStatus{Phase: v1.ClaimPending},
	}
	for _, o := range options {
		o(c)
	}
	return c
}

func boundTo(pv string) func(*v1.PersistentVolumeClaim) {
	return func(c *v1.PersistentVolumeClaim) {
		c.Spec.VolumeName, c.Status.Phase = pv, v1.ClaimBound
		c.Annotations[volume.AnnBindCompleted] = "yes"
	}
}

// newVolume is one of a class that only a node reaches.
func newVolume(name, class, node string) *v1.PersistentVolume {
	return &v1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1.PersistentVolumeSpec{
			StorageClassName: class, AccessModes: []v1.PersistentVolumeAccessMode{v1.ReadWriteOnce},
			Capacity: v1.ResourceList{v1.ResourceStorage: resource.MustParse("1Gi")},
			NodeAffinity: &v1.VolumeNodeAffinity{Required: &v1.NodeSelector{NodeSelectorTerms: []v1.NodeSelectorTerm{{
				MatchExpressions: []v1.NodeSelectorRequirement{{Key: v1.LabelHostname, Operator: v1.NodeSelectorOpIn, Values: []string{node}}}}}}},
		},
		Status: v1.PersistentVolumeStatus{Phase: v1.VolumeAvailable},
	}
}

func waitingClass(name, provisioner string, zones ...string) *storagev1.StorageClass {
	mode := storagev1.VolumeBindingWaitForFirstConsumer
	c := &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: name}, Provisioner: provisioner, VolumeBindingMode: &mode}
	if len(zones) > 0 {
		c.AllowedTopologies = []v1.TopologySelectorTerm{{MatchLabelExpressions: []v1.TopologySelectorLabelRequirement{{Key: "zone", Values: zones}}}}
	}
	return c
}

func claiming(name string) podOption {
	return func(p *v1.Pod) {
		p.Spec.Volumes = append(p.Spec.Volumes, v1.Volume{Name: name, VolumeSource: v1.VolumeSource{PersistentVolumeClaim: &v1.PersistentVolumeClaimVolumeSource{ClaimName: name}}})
	}
}

func withEphemeral(p *v1.Pod) {
	p.Spec.Volumes = append(p.Spec.Volumes, v1.Volume{Name: "v", VolumeSource: v1.VolumeSource{Ephemeral: &v1.EphemeralVolumeSource{}}})
}

func TestVolumeBinding(t *testing.T) {
	const none = " no new claims to deallocate, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
	now := metav1.NewTime(testTime)
	for _, c := range []struct {
		name    string
		pod     *v1.Pod
		objects []runtime.Object
		// node is where the pod must be bound, why what is said if it is not;
		// writes are those to claims and volumes.
		node, why string
		writes    []string
	}{
		{"no such claim", newPod("p", claiming("c")), nil, "", `0/2 nodes are available: persistentvolumeclaim "c" not found. not found`, nil},
		{"a claim that goes", newPod("p", claiming("c")), []runtime.Object{newClaim("c", "now", func(c *v1.PersistentVolumeClaim) { c.DeletionTimestamp = &now })}, "",
			`0/2 nodes are available: persistentvolumeclaim "c" is being deleted. not found`, nil},
		{"a claim that is not bound yet", newPod("p", claiming("c")), []runtime.Object{newClaim("c", "now")}, "",
			"0/2 nodes are available: pod has unbound immediate PersistentVolumeClaims. not found", nil},
		{"a claim that lost its volume", newPod("p", claiming("c")), []runtime.Object{newClaim("c", "now", boundTo("v"), func(c *v1.PersistentVolumeClaim) { c.Status.Phase = v1.ClaimLost })}, "",
			`0/2 nodes are available: persistentvolumeclaim "c" bound to non-existent persistentvolume "v". not found`, nil},
		{"no claim of a pod's own yet", newPod("p", withEphemeral), nil, "",
			`0/2 nodes are available: waiting for ephemeral volume controller to create the persistentvolumeclaim "p-v". not found`, nil},
		{"another's claim", newPod("p", withEphemeral), []runtime.Object{newClaim("p-v", "now")}, "",
			`0/2 nodes are available: PVC default/p-v was not created for pod default/p (pod is not owner). not found`, nil},
		{"bound", newPod("p", claiming("c")), []runtime.Object{newVolume("v", "now", "b"), newClaim("c", "now", boundTo("v"))}, "b", "", nil},
		{"bound, and out of reach", newPod("p", claiming("c")), []runtime.Object{newVolume("v", "now", "elsewhere"), newClaim("c", "now", boundTo("v"))}, "",
			"0/2 nodes are available: 2 node(s) didn't match PersistentVolume's node affinity." + none, nil},
		{"bound to nothing", newPod("p", claiming("c")), []runtime.Object{newClaim("c", "now", boundTo("v"))}, "",
			"0/2 nodes are available: 2 node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)." + none, nil},
		{"two that are apart", newPod("p", claiming("c"), claiming("d")), []runtime.Object{newVolume("v", "now", "a"), newVolume("w", "now", "b"), newClaim("c", "now", boundTo("v")), newClaim("d", "now", boundTo("w"))}, "",
			"0/2 nodes are available: 2 node(s) didn't match PersistentVolume's node affinity." + none, nil},
		{"nothing to bind", newPod("p", claiming("c")), []runtime.Object{waitingClass("later", noProvisioner), newClaim("c", "later"), newVolume("v", "another", "a")}, "",
			"0/2 nodes are available: 2 node(s) didn't find available persistent volumes to bind." + none, nil},
		{"a volume on a node", newPod("p", claiming("c")), []runtime.Object{waitingClass("later", noProvisioner), newClaim("c", "later"), newVolume("v", "later", "b")}, "", "",
			[]string{"volume v for default/c"}},
		{"one volume for two claims", newPod("p", claiming("c"), claiming("d")), []runtime.Object{waitingClass("later", noProvisioner), newClaim("c", "later"), newClaim("d", "later"), newVolume("v", "later", "b")}, "",
			"0/2 nodes are available: 2 node(s) didn't find available persistent volumes to bind." + none, nil},
		{"a volume to be made", newPod("p", claiming("c")), []runtime.Object{waitingClass("later", "example.com/maker", "west"), newClaim("c", "later")}, "", "",
			[]string{`claim default/c {"metadata":{"annotations":{"volume.kubernetes.io/selected-node":"b"},"resourceVersion":"","uid":"uid-claim"}}`}},
		{"out of the maker's reach", newPod("p", claiming("c")), []runtime.Object{waitingClass("later", "example.com/maker", "east"), newClaim("c", "later")}, "",
			"0/2 nodes are available: 2 node(s) didn't find available persistent volumes to bind." + none, nil},
		{"being made for another node", newPod("p", claiming("c"), selecting(v1.LabelHostname, "a")), []runtime.Object{waitingClass("later", "example.com/maker"),
			newClaim("c", "later", func(c *v1.PersistentVolumeClaim) { c.Annotations[selectedNode] = "b" })}, "",
			"0/2 nodes are available: 1 node(s) didn't find available persistent volumes to bind, 1 node(s) didn't match Pod's node affinity/selector." + none, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newAPI()
			s, _ := quick(t, a)
			st := newStorage(s)
			s.onNode(newNode("a"))
			s.onNode(newNode("b", nodeLabel("zone", "west")))
			st.set(t, c.objects...)
			s.onPod(c.pod)
			drain(s)
			if got := where(s, c.pod); got != c.node {
				t.Errorf("the pod is on %q, want %q", got, c.node)
			}
			var why string
			for _, e := range a.events {
				if _, text, ok := strings.Cut(e, "FailedScheduling Scheduling p: "); ok {
					why = text
				}
			}
			if why != c.why {
				t.Errorf("why: %q, want %q", why, c.why)
			}
			if diff := cmp.Diff(c.writes, a.writes); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestClaimsAreBoundFirst binds a pod when its claim is, and where its node was
// kept for it.
func TestClaimsAreBoundFirst(t *testing.T) {
	a := newAPI()
	s, _ := quick(t, a)
	st := newStorage(s)
	s.onNode(newNode("a", allocatable(v1.ResourcePods, "1")))
	st.set(t, waitingClass("later", "example.com/maker"), newClaim("c", "later"))
	p, other := newPod("p", claiming("c")), newPod("other")
	s.onPod(p)
	drain(s)
	s.onPod(other)
	drain(s)
	if where(s, p) != "" || where(s, other) != "" {
		t.Fatalf("p is on %q, other on %q", where(s, p), where(s, other))
	}
	// The annotation comes back, which is no reason to ask again.
	st.set(t, newClaim("c", "later", func(c *v1.PersistentVolumeClaim) { c.Annotations[selectedNode] = "a" }))
	drain(s)
	if len(a.writes) != 1 {
		t.Errorf("writes: %q", a.writes)
	}
	st.set(t, newVolume("v", "later", "a"), newClaim("c", "later", boundTo("v")))
	drain(s)
	if where(s, p) != "a" || where(s, other) != "" {
		t.Errorf("p is on %q, other on %q; events %q", where(s, p), where(s, other), a.events)
	}
}
