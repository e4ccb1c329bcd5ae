package admission

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"strings"
	"testing"
	"time"

	"clipper/internal/scheme"

	authenticationv1 "k8s.io/api/authentication/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	nodev1 "k8s.io/api/node/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/user"
	testingclock "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	"sync"
)

var table = scheme.New()

// world is the cluster that a test makes up.
type world struct {
	mu      sync.Mutex
	objects []runtime.Object
	changed chan struct{}
}

func newWorld(objects ...runtime.Object) *world {
	return &world{objects: objects, changed: make(chan struct{})}
}

func (w *world) add(o runtime.Object) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.objects = append(w.objects, o)
	close(w.changed)
	w.changed = make(chan struct{})
}

func resourceOf(o runtime.Object) schema.GroupResource {
	switch o.(type) {
	case *corev1.Pod:
		return pods
	case *corev1.Namespace:
		return namespaces
	case *corev1.ServiceAccount:
		return serviceAccounts
	case *corev1.LimitRange:
		return limitRanges
	case *certificatesv1.CertificateSigningRequest:
		return signingRequests
	case *corev1.ResourceQuota:
		return resourceQuotas
	case *corev1.PersistentVolumeClaim:
		return claims
	case *corev1.Service:
		return schema.GroupResource{Resource: "services"}
	case *corev1.ConfigMap:
		return schema.GroupResource{Resource: "configmaps"}
	case *schedulingv1.PriorityClass:
		return priorityClasses
	case *nodev1.RuntimeClass:
		return runtimeClasses
	case *corev1.Node:
		return nodes
	case *authenticationv1.TokenRequest:
		return serviceAccounts
	case *storagev1.StorageClass:
		return storageClasses
	case *networkingv1.IngressClass:
		return ingressClasses
	}
	panic("unknown kind")
}

func (w *world) Object(r schema.GroupResource, namespace, name string) metav1.Object {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.find(r, namespace, name)
}

func (w *world) find(r schema.GroupResource, namespace, name string) metav1.Object {
	for _, o := range w.objects {
		if m := o.(metav1.Object); resourceOf(o) == r && m.GetNamespace() == namespace && m.GetName() == name {
			return m
		}
	}
	return nil
}

func (w *world) Objects(r schema.GroupResource, namespace string) []runtime.Object {
	w.mu.Lock()
	defer w.mu.Unlock()
	var found []runtime.Object
	for _, o := range w.objects {
		if resourceOf(o) == r && (namespace == "" || o.(metav1.Object).GetNamespace() == namespace) {
			found = append(found, o)
		}
	}
	return found
}

func (w *world) Await(ctx context.Context, r schema.GroupResource, namespace, name string) metav1.Object {
	for {
		w.mu.Lock()
		o, changed := w.find(r, namespace, name), w.changed
		w.mu.Unlock()
		if o != nil {
			return o
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

var birth = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func (w *world) chain() *Chain {
	return New(Config{Objects: w, Clock: testingclock.NewFakePassiveClock(birth), Suffix: func(n int) string { return strings.Repeat("x", n) }})
}

// create is the write that makes an object.
func create(o runtime.Object) *Attributes {
	m := o.(metav1.Object)
	r := resourceOf(o)
	return &Attributes{
		Resource:  table.Preferred(r),
		Namespace: m.GetNamespace(), Name: m.GetName(), Operation: Create, Object: o,
		User: &user.DefaultInfo{Name: "jane"},
	}
}

func update(o, old runtime.Object) *Attributes {
	a := create(o)
	a.Operation, a.Old = Update, old
	return a
}

func remove(o runtime.Object) *Attributes {
	a := create(o)
	a.Operation, a.Object, a.Old = Delete, nil, o
	return a
}

// pass runs a whole chain, as the API server does up to the store.
func (c *Chain) pass(ctx context.Context, a *Attributes) error {
	if err := c.Admit(ctx, a); err != nil {
		return err
	}
	return c.Validate(ctx, a)
}

func meta(namespace, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name}
}

func namespace(name string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: meta("", name), Status: corev1.NamespaceStatus{Phase: corev1.NamespaceActive}}
}

func account(name string) *corev1.ServiceAccount {
	return &corev1.ServiceAccount{ObjectMeta: meta("ns", name)}
}

func pod(name string, change ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: meta("ns", name), Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c"}}}}
	for _, f := range change {
		f(p)
	}
	return p
}

// says checks an error; an empty text is no error.
func says(t *testing.T, err error, want string) {
	t.Helper()
	if want == "" && err != nil || want != "" && (err == nil || err.Error() != want) {
		t.Errorf("error is\n\t%v\nwant\n\t%s", err, want)
	}
	var status apierrors.APIStatus
	if err != nil && !errors.As(err, &status) {
		t.Errorf("%v is no StatusError", err)
	}
}

func TestNamespaceLifecycle(t *testing.T) {
	ending := namespace("ending")
	ending.Status.Phase = corev1.NamespaceTerminating
	in := func(ns string) *corev1.ConfigMap { return &corev1.ConfigMap{ObjectMeta: meta(ns, "m")} }
	w := newWorld(namespace("ns"), ending)
	for _, test := range []struct {
		name string
		a    *Attributes
		want string
	}{
		{"create", create(in("ns")), ""},
		{"create in none", create(in("none")), `namespaces "none" not found`},
		{"create in one that ends", create(in("ending")), `configmaps "m" is forbidden: unable to create new content in namespace ending because it is being terminated`},
		{"update in one that ends", update(in("ending"), in("ending")), ""},
		{"delete in one that ends", remove(in("ending")), ""},
		{"delete in none", remove(in("none")), ""},
		{"not in a namespace", create(&corev1.Node{ObjectMeta: meta("", "n")}), ""},
		{"delete default", remove(namespace("default")), `namespaces "default" is forbidden: this namespace may not be deleted`},
		{"delete kube-system", remove(namespace("kube-system")), `namespaces "kube-system" is forbidden: this namespace may not be deleted`},
		{"delete another", remove(namespace("ns")), ""},
	} {
		t.Run(test.name, func(t *testing.T) { says(t, w.chain().pass(t.Context(), test.a), test.want) })
	}
	err := w.chain().pass(t.Context(), create(in("ending")))
	if !apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		t.Errorf("%v has no cause", err)
	}
}

func TestServiceAccountToken(t *testing.T) {
	no := account("no")
	no.AutomountServiceAccountToken = ptr.To(false)
	pulls := account("pulls")
	pulls.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "s"}}
	w := newWorld(namespace("ns"), account("default"), no, pulls)
	as := func(name string) func(*corev1.Pod) {
		return func(p *corev1.Pod) { p.Spec.ServiceAccountName = name }
	}
	automount := func(b bool) func(*corev1.Pod) {
		return func(p *corev1.Pod) { p.Spec.AutomountServiceAccountToken = &b }
	}
	for _, test := range []struct {
		name    string
		pod     *corev1.Pod
		account string
		mounted bool
		fails   string
	}{
		{"default", pod("p"), "default", true, ""},
		{"pod says no", pod("p", automount(false)), "default", false, ""},
		{"account says no", pod("p", as("no")), "no", false, ""},
		{"account says no, pod yes", pod("p", as("no"), automount(true)), "no", true, ""},
		{"unknown", pod("p", as("who")), "", false, `pods "p" is forbidden: error looking up service account ns/who: serviceaccount "who" not found`},
		{"unknown, name to be made", pod("", as("who"), func(p *corev1.Pod) { p.GenerateName = "web-" }), "", false, `pods "web-" is forbidden: error looking up service account ns/who: serviceaccount "who" not found`},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := w.chain().pass(t.Context(), create(test.pod))
			says(t, err, test.fails)
			if err != nil {
				return
			}
			if test.pod.Spec.ServiceAccountName != test.account || test.pod.Spec.DeprecatedServiceAccount != test.account {
				t.Errorf("runs as %q", test.pod.Spec.ServiceAccountName)
			}
			mounts := test.pod.Spec.Containers[0].VolumeMounts
			if got := len(mounts) == 1 && len(test.pod.Spec.Volumes) == 1; got != test.mounted {
				t.Fatalf("mounted: %v", mounts)
			}
			if !test.mounted {
				return
			}
			v := test.pod.Spec.Volumes[0]
			if v.Name != "kube-api-access-xxxxx" || mounts[0].Name != v.Name || !mounts[0].ReadOnly || mounts[0].MountPath != "/var/run/secrets/kubernetes.io/serviceaccount" ||
				len(v.Projected.Sources) != 3 || *v.Projected.Sources[0].ServiceAccountToken.ExpirationSeconds != 3607 || *v.Projected.DefaultMode != 0o644 {
				t.Errorf("volume is %+v, mount %+v", v, mounts[0])
			}
		})
	}

	t.Run("pull secrets", func(t *testing.T) {
		p := pod("p", as("pulls"))
		says(t, w.chain().pass(t.Context(), create(p)), "")
		if len(p.Spec.ImagePullSecrets) != 1 {
			t.Errorf("secrets are %v", p.Spec.ImagePullSecrets)
		}
	})
	t.Run("own mount stays", func(t *testing.T) {
		p := pod("p")
		p.Spec.InitContainers = []corev1.Container{{Name: "i"}}
		p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "mine", MountPath: tokenMountPath}}
		says(t, w.chain().pass(t.Context(), create(p)), "")
		if len(p.Spec.Containers[0].VolumeMounts) != 1 || len(p.Spec.InitContainers[0].VolumeMounts) != 1 || len(p.Spec.Volumes) != 1 {
			t.Errorf("pod is %+v", p.Spec)
		}
	})
	t.Run("a copied pod keeps its volume", func(t *testing.T) {
		p := pod("p")
		says(t, w.chain().pass(t.Context(), create(p)), "")
		again := p.DeepCopy()
		again.Name, again.ResourceVersion = "q", ""
		says(t, w.chain().pass(t.Context(), create(again)), "")
		if len(again.Spec.Volumes) != 1 || len(again.Spec.Containers[0].VolumeMounts) != 1 {
			t.Errorf("pod is %+v", again.Spec)
		}
	})
	t.Run("mirror pod", func(t *testing.T) {
		mirror := func(p *corev1.Pod) { p.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "x"} }
		says(t, w.chain().pass(t.Context(), create(pod("p", mirror))), "")
		says(t, w.chain().pass(t.Context(), create(pod("p", mirror, as("default")))), `pods "p" is forbidden: a mirror pod may not reference service accounts`)
		says(t, w.chain().pass(t.Context(), create(pod("p", mirror, func(p *corev1.Pod) {
			p.Spec.Volumes = []corev1.Volume{{VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "s"}}}}
		}))), `pods "p" is forbidden: a mirror pod may not reference secrets`)
	})
}

// The first pod of a new namespace waits for its ServiceAccount.
func TestServiceAccountIsAwaited(t *testing.T) {
	w := newWorld(namespace("ns"))
	done := make(chan error)
	go func() { done <- w.chain().pass(t.Context(), create(pod("p"))) }()
	w.add(account("default"))
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestTolerations(t *testing.T) {
	w := newWorld(namespace("ns"), account("default"))
	for _, test := range []struct {
		have []corev1.Toleration
		want int
	}{
		{nil, 2},
		{[]corev1.Toleration{{Operator: corev1.TolerationOpExists}}, 1},
		{[]corev1.Toleration{{Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule}}, 3},
		{[]corev1.Toleration{{Key: corev1.TaintNodeNotReady, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute}}, 2},
	} {
		p := pod("p", func(p *corev1.Pod) { p.Spec.Tolerations = test.have })
		says(t, w.chain().pass(t.Context(), create(p)), "")
		if len(p.Spec.Tolerations) != test.want {
			t.Errorf("%v becomes %v", test.have, p.Spec.Tolerations)
		}
	}
}

func TestNewNodeIsTainted(t *testing.T) {
	n := &corev1.Node{ObjectMeta: meta("", "n")}
	for range 2 {
		says(t, newWorld().chain().pass(t.Context(), create(n)), "")
		if len(n.Spec.Taints) != 1 || n.Spec.Taints[0].Key != "node.kubernetes.io/not-ready" || n.Spec.Taints[0].Effect != corev1.TaintEffectNoSchedule {
			t.Errorf("taints are %v", n.Spec.Taints)
		}
	}
}

// signingRequest asks for a certificate of an owner in groups.
func signingRequest(t *testing.T, signer string, groups ...string) *certificatesv1.CertificateSigningRequest {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "jane", Organization: groups}}, key)
	if err != nil {
		t.Fatal(err)
	}
	return &certificatesv1.CertificateSigningRequest{
		ObjectMeta: meta("", "r"),
		Spec: certificatesv1.CertificateSigningRequestSpec{
			SignerName: signer, Request: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}),
		},
	}
}

func TestCertificates(t *testing.T) {
	const mine, other = "example.com/mine", "example.org/other"
	r := func(signer string, change func(*certificatesv1.CertificateSigningRequest)) func(string) *Attributes {
		return func(subresource string) *Attributes {
			old := signingRequest(t, signer)
			now := old.DeepCopy()
			change(now)
			a := update(now, old)
			a.Subresource = subresource
			return a
		}
	}
	says := func(t *testing.T, err error, want string) {
		t.Helper()
		if want != "" {
			want = `certificatesigningrequests.certificates.k8s.io "r" is forbidden: ` + want
		}
		says(t, err, want)
	}
	decided := func(r *certificatesv1.CertificateSigningRequest) {
		r.Status.Conditions = []certificatesv1.CertificateSigningRequestCondition{{Type: "X", Status: "True"}}
	}
	signed := func(r *certificatesv1.CertificateSigningRequest) { r.Status.Certificate = []byte("c") }
	labelled := func(r *certificatesv1.CertificateSigningRequest) { r.Labels = map[string]string{"a": "b"} }
	w := newWorld()
	for _, may := range []string{"", mine, "example.com/*"} {
		chain := New(Config{Objects: w, Clock: testingclock.NewFakePassiveClock(birth), Permit: func(_ context.Context, u user.Info, verb, resource, name string) (bool, error) {
			return u.GetName() == "jane" && resource == "signers" && (verb == "approve" || verb == "sign") && name == may, nil
		}})
		refused := func(text string) string {
			if may != "" {
				return ""
			}
			return text
		}
		for _, test := range []struct {
			a    *Attributes
			want string
		}{
			{r(mine, decided)("approval"), refused(`user not permitted to approve requests with signerName "example.com/mine"`)},
			{r(mine, labelled)("approval"), refused(`user not permitted to approve requests with signerName "example.com/mine"`)},
			{r(mine, signed)("status"), refused(`user not permitted to sign requests with signerName "example.com/mine"`)},
			{r(mine, decided)("status"), refused(`user not permitted to sign requests with signerName "example.com/mine"`)},
			{r(mine, labelled)("status"), ""},
			{r(mine, labelled)(""), ""},
			{r(other, decided)("approval"), `user not permitted to approve requests with signerName "example.org/other"`},
			{r(other, signed)("status"), `user not permitted to sign requests with signerName "example.org/other"`},
		} {
			says(t, chain.pass(t.Context(), test.a), test.want)
		}
	}
	client := certificatesv1.KubeAPIServerClientSignerName
	says(t, w.chain().pass(t.Context(), r(mine, decided)("approval")), `user not permitted to approve requests with signerName "example.com/mine"`)
	says(t, w.chain().pass(t.Context(), create(signingRequest(t, client, "a", "b"))), "")
	says(t, w.chain().pass(t.Context(), create(signingRequest(t, mine, "system:masters"))), "")
	says(t, w.chain().pass(t.Context(), create(signingRequest(t, client, "a", "system:masters"))),
		"use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed")
}

func TestPriority(t *testing.T) {
	class := func(name string, value int32, byDefault bool) *schedulingv1.PriorityClass {
		return &schedulingv1.PriorityClass{ObjectMeta: meta("", name), Value: value, GlobalDefault: byDefault}
	}
	never := class("never", 5, false)
	never.PreemptionPolicy = ptr.To(corev1.PreemptNever)
	bare := newWorld(namespace("ns"), account("default"), never)
	rich := newWorld(namespace("ns"), account("default"), class("high", 1000, false), class("usual", 10, true))
	named := func(name string) func(*corev1.Pod) {
		return func(p *corev1.Pod) { p.Spec.PriorityClassName = name }
	}
	with := func(value int32) func(*corev1.Pod) { return func(p *corev1.Pod) { p.Spec.Priority = &value } }
	for _, test := range []struct {
		world  *world
		pod    *corev1.Pod
		class  string
		value  int32
		policy corev1.PreemptionPolicy
		fails  string
	}{
		{bare, pod("p"), "", 0, corev1.PreemptLowerPriority, ""},
		{rich, pod("p"), "usual", 10, corev1.PreemptLowerPriority, ""},
		{rich, pod("p", named("high")), "high", 1000, corev1.PreemptLowerPriority, ""},
		{bare, pod("p", named("never")), "never", 5, corev1.PreemptNever, ""},
		{bare, pod("p", named("system-node-critical")), "system-node-critical", 2000001000, corev1.PreemptLowerPriority, ""},
		{bare, pod("p", named("system-cluster-critical")), "system-cluster-critical", 2000000000, corev1.PreemptLowerPriority, ""},
		{bare, pod("p", with(0)), "", 0, corev1.PreemptLowerPriority, ""},
		{rich, pod("p", named("high"), with(1)), "", 0, "", `pods "p" is forbidden: the integer value of priority (1) must not be provided in pod spec; priority admission controller computed 1000 from the given PriorityClass name`},
		{rich, pod("p", named("none")), "", 0, "", `pods "p" is forbidden: no PriorityClass with name none was found`},
	} {
		err := test.world.chain().pass(t.Context(), create(test.pod))
		says(t, err, test.fails)
		if err == nil && (test.pod.Spec.PriorityClassName != test.class || *test.pod.Spec.Priority != test.value || *test.pod.Spec.PreemptionPolicy != test.policy) {
			t.Errorf("pod has %q %d %s", test.pod.Spec.PriorityClassName, *test.pod.Spec.Priority, *test.pod.Spec.PreemptionPolicy)
		}
	}
	says(t, rich.chain().pass(t.Context(), create(class("another", 1, true))), `priorityclasses.scheduling.k8s.io "another" is forbidden: PriorityClass usual is already marked as default. Only one default can exist`)
	says(t, rich.chain().pass(t.Context(), update(class("usual", 10, true), class("usual", 10, true))), "")
}

func TestRuntimeClass(t *testing.T) {
	costs := &nodev1.RuntimeClass{ObjectMeta: meta("", "vm"), Handler: "vm",
		Overhead: &nodev1.Overhead{PodFixed: list("cpu", "10m")},
		Scheduling: &nodev1.Scheduling{NodeSelector: map[string]string{"vm": "yes"},
			Tolerations: []corev1.Toleration{{Key: "vm", Operator: corev1.TolerationOpExists}}}}
	free := &nodev1.RuntimeClass{ObjectMeta: meta("", "runc"), Handler: "runc"}
	w := newWorld(namespace("ns"), account("default"), costs, free)
	of := func(name string) func(*corev1.Pod) {
		return func(p *corev1.Pod) { p.Spec.RuntimeClassName = &name }
	}
	over := func(pairs ...string) func(*corev1.Pod) {
		return func(p *corev1.Pod) { p.Spec.Overhead = list(pairs...) }
	}
	chosen := func(value string) func(*corev1.Pod) {
		return func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{"vm": value} }
	}
	tolerant := func(p *corev1.Pod) { p.Spec.Tolerations = costs.Scheduling.Tolerations }
	for _, test := range []struct {
		pod      *corev1.Pod
		overhead string
		fails    string
	}{
		{pod("p"), "0", ""},
		{pod("p", of("runc")), "0", ""},
		{pod("p", of("vm")), "10m", ""},
		{pod("p", of("vm"), over("cpu", "10m"), chosen("yes"), tolerant), "10m", ""},
		{pod("p", of("none")), "", `pods "p" is forbidden: pod rejected: RuntimeClass "none" not found`},
		{pod("p", of("vm"), over("cpu", "1")), "", `pods "p" is forbidden: pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead`},
		{pod("p", of("runc"), over("cpu", "1")), "", `pods "p" is forbidden: pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead`},
		{pod("p", over("cpu", "1")), "", `pods "p" is forbidden: pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead`},
		{pod("p", of("vm"), chosen("no")), "", `pods "p" is forbidden: conflict: runtimeClass.scheduling.nodeSelector[vm] = yes; pod.spec.nodeSelector[vm] = no`},
	} {
		err := w.chain().pass(t.Context(), create(test.pod))
		says(t, err, test.fails)
		if err != nil {
			continue
		}
		if got := test.pod.Spec.Overhead.Cpu().String(); got != test.overhead {
			t.Errorf("overhead is %s, want %s", got, test.overhead)
		}
		own := 0
		for _, o := range test.pod.Spec.Tolerations {
			if o.Key == "vm" {
				own++
			}
		}
		if costly := test.overhead != "0"; costly != (own == 1) || costly != (test.pod.Spec.NodeSelector["vm"] == "yes") {
			t.Errorf("pod has %v %v", test.pod.Spec.NodeSelector, test.pod.Spec.Tolerations)
		}
	}
}

func list(pairs ...string) corev1.ResourceList {
	l := corev1.ResourceList{}
	for i := 0; i < len(pairs); i += 2 {
		l[corev1.ResourceName(pairs[i])] = resource.MustParse(pairs[i+1])
	}
	return l
}

func resources(requests, limits corev1.ResourceList) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.Containers[0].Resources = corev1.ResourceRequirements{Requests: requests, Limits: limits}
	}
}

func TestLimitRanger(t *testing.T) {
	with := func(items ...corev1.LimitRangeItem) *world {
		return newWorld(namespace("ns"), account("default"), &corev1.LimitRange{ObjectMeta: meta("ns", "l"), Spec: corev1.LimitRangeSpec{Limits: items}})
	}
	bounds := with(corev1.LimitRangeItem{Type: corev1.LimitTypeContainer, Min: list("memory", "100Mi"), Max: list("cpu", "1", "memory", "1Gi"), MaxLimitRequestRatio: list("memory", "2")})
	whole := with(corev1.LimitRangeItem{Type: corev1.LimitTypePod, Max: list("cpu", "1", "memory", "1Gi")})
	ok := resources(list("memory", "600Mi"), list("cpu", "1", "memory", "1Gi"))
	for _, test := range []struct {
		world *world
		pod   *corev1.Pod
		want  string
	}{
		{bounds, pod("p", ok), ""},
		{bounds, pod("p", resources(list("memory", "50Mi"), list("cpu", "1", "memory", "100Mi"))), `pods "p" is forbidden: minimum memory usage per Container is 100Mi, but request is 50Mi`},
		{bounds, pod("p", resources(list("memory", "600Mi"), list("cpu", "1500m", "memory", "1Gi"))), `pods "p" is forbidden: maximum cpu usage per Container is 1, but limit is 1500m`},
		{bounds, pod("p"), `pods "p" is forbidden: [minimum memory usage per Container is 100Mi.  No request is specified, maximum cpu usage per Container is 1.  No limit is specified, maximum memory usage per Container is 1Gi.  No limit is specified, memory max limit to request ratio per Container is 2, but no request is specified or request is 0]`},
		{bounds, pod("p", resources(list("memory", "256Mi"), list("cpu", "1", "memory", "1Gi"))), `pods "p" is forbidden: memory max limit to request ratio per Container is 2, but provided ratio is 4.000000`},
		{whole, pod("p", resources(nil, list("cpu", "600m", "memory", "1Gi")), func(p *corev1.Pod) {
			p.Spec.Containers = append(p.Spec.Containers, p.Spec.Containers[0])
		}), `pods "p" is forbidden: [maximum cpu usage per Pod is 1, but limit is 1200m, maximum memory usage per Pod is 1Gi, but limit is 2Gi]`},
	} {
		says(t, test.world.chain().pass(t.Context(), create(test.pod)), test.want)
	}

	defaults := with(corev1.LimitRangeItem{Type: corev1.LimitTypeContainer, Default: list("cpu", "500m", "memory", "512Mi"), DefaultRequest: list("cpu", "100m", "memory", "256Mi")})
	p := pod("p", resources(nil, list("cpu", "200m")))
	says(t, defaults.chain().pass(t.Context(), create(p)), "")
	r := p.Spec.Containers[0].Resources
	if got := r.Limits.Cpu().String() + " " + r.Limits.Memory().String() + " " + r.Requests.Cpu().String() + " " + r.Requests.Memory().String(); got != "200m 512Mi 100m 256Mi" {
		t.Errorf("resources are %s", got)
	}
	if got := p.Annotations["kubernetes.io/limit-ranger"]; got != "LimitRanger plugin set: cpu, memory request for container c; memory limit for container c" {
		t.Errorf("annotation is %q", got)
	}

	storage := with(corev1.LimitRangeItem{Type: corev1.LimitTypePersistentVolumeClaim, Max: list("storage", "1Gi"), Min: list("storage", "1Mi")})
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: meta("ns", "v"), Spec: corev1.PersistentVolumeClaimSpec{Resources: corev1.VolumeResourceRequirements{Requests: list("storage", "2Gi")}}}
	says(t, storage.chain().pass(t.Context(), create(claim)), `persistentvolumeclaims "v" is forbidden: maximum storage usage per PersistentVolumeClaim is 1Gi, but request is 2Gi`)
}

func TestNodeRestriction(t *testing.T) {
	on := func(node string) func(*corev1.Pod) { return func(p *corev1.Pod) { p.Spec.NodeName = node } }
	mirror := func(p *corev1.Pod) { p.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "x"} }
	uid := func(p *corev1.Pod) { p.UID = "uid" }
	asks := func(p *corev1.Pod) {
		p.Spec.Volumes = []corev1.Volume{{Name: "t", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
			{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token"}},
			{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "vault", Audience: "vault"}},
		}}}}}
	}
	mine, others := pod("mine", on("n1"), uid, asks), pod("others", on("n2"), uid, asks)
	quiet := pod("quiet", on("n1"), uid)
	self := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1", UID: "n1-uid"}}
	shared := func(name, share string) *corev1.Node {
		return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.NodeSpec{PodCIDR: share, PodCIDRs: []string{share}}}
	}
	w := newWorld(namespace("ns"), account("default"), mine, others, quiet, self, shared("n3", "10.42.3.0/24"))
	owner := func(change ...func(*metav1.OwnerReference)) func(*corev1.Pod) {
		o := metav1.OwnerReference{APIVersion: "v1", Kind: "Node", Name: "n1", UID: "n1-uid", Controller: ptr.To(true)}
		for _, f := range change {
			f(&o)
		}
		return func(p *corev1.Pod) { p.OwnerReferences = append(p.OwnerReferences, o) }
	}
	shows := func(v corev1.VolumeSource) func(*corev1.Pod) {
		return func(p *corev1.Pod) { p.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: v}} }
	}
	env := func(v corev1.EnvVarSource) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.Spec.Containers = []corev1.Container{{Env: []corev1.EnvVar{{Name: "V", ValueFrom: &v}}}}
		}
	}
	status := func(old *corev1.Pod, change func(*corev1.Pod)) *Attributes {
		p := old.DeepCopy()
		change(p)
		a := update(p, old)
		a.Subresource = "status"
		return a
	}
	node := func(name string, labels map[string]string) *corev1.Node {
		return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
	}
	owned := node("n1", nil)
	owned.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "gone", UID: "x"}}
	tainted := node("n1", nil)
	tainted.Spec.Taints = []corev1.Taint{{Key: "x"}}
	token := func(ref *authenticationv1.BoundObjectReference, audiences ...string) *Attributes {
		return &Attributes{Resource: table.Preferred(serviceAccounts), Subresource: "token", Namespace: "ns", Name: "default", Operation: Create,
			Object: &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{BoundObjectRef: ref, Audiences: audiences}}}
	}
	bound := func(name, uid string) *authenticationv1.BoundObjectReference {
		return &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: name, UID: "uid"}
	}
	for _, test := range []struct {
		a    *Attributes
		want string // empty is none; what it must contain
	}{
		{create(shared("n1", "10.42.1.0/24")), ""},
		{create(shared("n1", "10.42.3.0/24")), `podCIDR 10.42.3.0/24 is that of node "n3"`},
		{create(shared("n1", "10.42.0.0/16")), `podCIDR 10.42.3.0/24 is that of node "n3"`},
		{create(shared("n1", "10.42.3.128/25")), `podCIDR 10.42.3.0/24 is that of node "n3"`},
		{create(pod("m", mirror, on("n1"), owner())), ""},
		{create(pod("m", mirror, on("n1"))), `node "n1" can only create pods with an owner reference set to itself`},
		{create(pod("m", mirror, on("n1"), owner(), owner())), `node "n1" can only create pods with a single owner reference set to itself`},
		{create(pod("m", mirror, on("n1"), owner(func(o *metav1.OwnerReference) { o.Name = "n2" }))), `node "n1" can only create pods with an owner reference set to itself`},
		{create(pod("m", mirror, on("n1"), owner(func(o *metav1.OwnerReference) { o.Controller = nil }))), `can only create pods with a controller owner reference set to itself`},
		{create(pod("m", mirror, on("n1"), owner(func(o *metav1.OwnerReference) { o.BlockOwnerDeletion = ptr.To(true) }))), `must not set blockOwnerDeletion on an owner reference`},
		{create(pod("m", mirror, on("n1"), owner(func(o *metav1.OwnerReference) { o.UID = "x" }))), `node n1 UID mismatch: expected x got n1-uid`},
		{create(pod("m", mirror, on("n1"), owner(), shows(corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{}}))), `can not create pods that reference configmaps`},
		{create(pod("m", mirror, on("n1"), owner(), env(corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{}}))), `can not create pods that reference configmaps`},
		{create(pod("m", mirror, on("n1"), owner(), env(corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{}}))), `reference secrets`},
		{create(pod("m", mirror, on("n1"), owner(), shows(corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{NodePublishSecretRef: &corev1.LocalObjectReference{Name: "s"}}}))), `reference secrets`},
		{create(pod("m", mirror, on("n1"), owner(), shows(corev1.VolumeSource{RBD: &corev1.RBDVolumeSource{SecretRef: &corev1.LocalObjectReference{Name: "s"}}}))), `reference secrets`},
		{create(pod("m", mirror, on("n1"), owner(), shows(corev1.VolumeSource{AzureFile: &corev1.AzureFileVolumeSource{SecretName: "s"}}))), `reference secrets`},
		{create(pod("m", mirror, on("n1"), owner(), shows(corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{}}))), `can not create pods that reference persistentvolumeclaims`},
		{create(pod("m", mirror, on("n1"), owner(), func(p *corev1.Pod) { p.Spec.ResourceClaims = []corev1.PodResourceClaim{{Name: "c"}} })), `can not create pods that reference resourceclaims`},
		{create(owned), `node "n1" is not allowed to modify ownerReferences`},
		{update(owned, node("n1", nil)), `node "n1" is not allowed to modify ownerReferences`},
		{update(owned, owned), ""},
		{create(pod("m", mirror, on("n2"))), `node "n1" can only create pods with spec.nodeName set to itself`},
		{create(pod("m", on("n1"))), `node "n1" can only create mirror pods`},
		{remove(mine), ""},
		{remove(others), `node "n1" can only delete pods with spec.nodeName set to itself`},
		{status(mine, func(p *corev1.Pod) { p.Status.Phase = corev1.PodRunning }), ""},
		{status(others, func(p *corev1.Pod) {}), `node "n1" can only update pod status for pods with spec.nodeName set to itself`},
		{status(mine, func(p *corev1.Pod) { p.Labels = map[string]string{"a": "b"} }), `node "n1" cannot update labels through pod status`},
		{create(node("n1", map[string]string{"kubernetes.io/hostname": "n1", "acme.com/x": "y"})), ""},
		{create(node("n2", nil)), `node "n1" is not allowed to modify node "n2"`},
		{create(node("n1", map[string]string{"node-restriction.kubernetes.io/x": "y"})), "is not allowed to modify labels: node-restriction.kubernetes.io/x"},
		{create(node("n1", map[string]string{"node-role.kubernetes.io/control-plane": ""})), "is not allowed to modify labels: node-role.kubernetes.io/control-plane"},
		{update(node("n1", nil), tainted), `node "n1" is not allowed to modify taints`},
		{update(node("n1", map[string]string{"kubernetes.io/foo": "a"}), node("n1", map[string]string{"kubernetes.io/foo": "a"})), ""},
		{token(bound("mine", "uid")), ""},
		{token(bound("others", "uid")), "node requested token bound to a pod scheduled on a different node"},
		{token(bound("mine", "uid"), "vault"), ""},
		{token(bound("mine", "uid"), "bank"), `audience "bank" not found in pod spec volume`},
		{token(bound("mine", "uid"), "vault", ""), "node may only request 0 or 1 audiences"},
		{token(bound("quiet", "uid")), `audience "" not found in pod spec volume`},
		{token(nil), "node requested token not bound to a pod"},
	} {
		test.a.User = &user.DefaultInfo{Name: "system:node:n1", Groups: []string{"system:nodes"}}
		err := w.chain().pass(t.Context(), test.a)
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s %s: error is %v, want %q", test.a.Operation, test.a.Name, err, test.want)
		}
	}
}
