package controller

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"maps"
	"reflect"
	"slices"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/dump"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/client-go/kubernetes"
)

// hashLabel returns the label that bears the hash of a ControllerRevision's
// data: the owners' controllers never agreed on one.
func hashLabel(owner schema.GroupVersionKind) string {
	if owner.Kind == "DaemonSet" {
		return appsv1.ControllerRevisionHashLabelKey
	}
	return "controller.kubernetes.io/hash"
}

// TemplateHash names a pod template, as upstream does, so that the sets and
// revisions of a cluster that moved here keep their names.
func TemplateHash(t *corev1.PodTemplateSpec, collisions *int32) string {
	h := fnv.New32a()
	fmt.Fprintf(h, "%v", dump.ForHash(*t))
	if collisions != nil {
		var b [8]byte
		binary.LittleEndian.PutUint32(b[:], uint32(*collisions))
		h.Write(b[:])
	}
	return rand.SafeEncodeString(fmt.Sprint(h.Sum32()))
}

// dataHash names a revision's data.
func dataHash(data []byte, collisions *int32) string {
	h := fnv.New32()
	h.Write(data)
	if collisions != nil {
		h.Write([]byte(strconv.FormatInt(int64(*collisions), 10)))
	}
	return rand.SafeEncodeString(fmt.Sprint(h.Sum32()))
}

// NewRevision returns the ControllerRevision of an owner's pod template. Its
// data is a patch that brings the template back; its name, as upstream's, is
// the owner's with a hash and the count of collisions.
func NewRevision(owner metav1.Object, kind schema.GroupVersionKind, t *corev1.PodTemplateSpec, number int64, collisions *int32) (*appsv1.ControllerRevision, error) {
	b, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	var template map[string]any
	if err := json.Unmarshal(b, &template); err != nil {
		return nil, err
	}
	template["$patch"] = "replace"
	data, err := json.Marshal(map[string]any{"spec": map[string]any{"template": template}})
	if err != nil {
		return nil, err
	}
	hash := dataHash(data, collisions)
	if kind.Kind == "DaemonSet" {
		hash = TemplateHash(t, collisions)
	}
	l := maps.Clone(t.Labels)
	if l == nil {
		l = map[string]string{}
	}
	l[hashLabel(kind)] = hash
	return &appsv1.ControllerRevision{
		ObjectMeta: metav1.ObjectMeta{
			Name: owner.GetName() + "-" + hash, Namespace: owner.GetNamespace(), Labels: l, Annotations: maps.Clone(owner.GetAnnotations()),
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(owner, kind)},
		},
		Data: runtime.RawExtension{Raw: data}, Revision: number,
	}, nil
}

// TemplateOf returns the pod template that a revision brings back.
func TemplateOf(r *appsv1.ControllerRevision) (*corev1.PodTemplateSpec, error) {
	var data struct {
		Spec struct {
			Template corev1.PodTemplateSpec `json:"template"`
		} `json:"spec"`
	}
	if err := json.Unmarshal(r.Data.Raw, &data); err != nil {
		return nil, fmt.Errorf("revision %s: %w", r.Name, err)
	}
	return &data.Spec.Template, nil
}

func sameData(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	var x, y any
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && reflect.DeepEqual(x, y)
}

// SortRevisions puts the oldest first.
func SortRevisions(all []*appsv1.ControllerRevision) {
	slices.SortFunc(all, func(a, b *appsv1.ControllerRevision) int {
		return cmp.Or(cmp.Compare(a.Revision, b.Revision), a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
}

// UpdateRevision returns the revision of an owner's present template: one of
// have, made the newest, or one that it creates. If its name is taken by other
// data, collisions is returned as it has to be next time, with an error. pending
// is told of what is created.
func UpdateRevision(ctx context.Context, c kubernetes.Interface, pending *Pending, owner metav1.Object, kind schema.GroupVersionKind, t *corev1.PodTemplateSpec, have []*appsv1.ControllerRevision, collisions *int32) (*appsv1.ControllerRevision, *int32, error) {
	SortRevisions(have)
	next := int64(1)
	if n := len(have); n > 0 {
		next = have[n-1].Revision + 1
	}
	want, err := NewRevision(owner, kind, t, next, collisions)
	if err != nil {
		return nil, collisions, err
	}
	client := c.AppsV1().ControllerRevisions(owner.GetNamespace())
	for i := len(have) - 1; i >= 0; i-- {
		if !sameData(have[i].Data.Raw, want.Data.Raw) {
			continue
		}
		if i == len(have)-1 {
			return have[i], collisions, nil
		}
		w := *have[i]
		w.Revision = next
		r, err := client.Update(ctx, &w, metav1.UpdateOptions{})
		return r, collisions, err
	}
	pending.Create(owner.GetUID(), 1)
	r, err := client.Create(ctx, want, metav1.CreateOptions{})
	if err != nil {
		pending.Create(owner.GetUID(), -1)
	}
	if !apierrors.IsAlreadyExists(err) {
		return r, collisions, err
	}
	there, getErr := client.Get(ctx, want.Name, metav1.GetOptions{})
	if getErr != nil {
		return nil, collisions, getErr
	}
	if sameData(there.Data.Raw, want.Data.Raw) {
		return there, collisions, nil // the cache is behind
	}
	n := int32(1)
	if collisions != nil {
		n = *collisions + 1
	}
	return nil, &n, err
}

// TruncateRevisions deletes the oldest revisions beyond limit, of those that
// are not in use.
func TruncateRevisions(ctx context.Context, c kubernetes.Interface, have []*appsv1.ControllerRevision, limit *int32, used func(*appsv1.ControllerRevision) bool) error {
	if limit == nil {
		return nil
	}
	SortRevisions(have)
	idle := slices.DeleteFunc(slices.Clone(have), used)
	for i := range max(len(idle)-int(*limit), 0) {
		r := idle[i]
		err := c.AppsV1().ControllerRevisions(r.Namespace).Delete(ctx, r.Name, *metav1.NewPreconditionDeleteOptions(string(r.UID)))
		if err := GoneOrChanged(err); err != nil {
			return err
		}
	}
	return nil
}
