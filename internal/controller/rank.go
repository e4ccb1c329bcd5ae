package controller

import (
	"cmp"
	"math/bits"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// DeletionCost is what the pod's annotation says it costs to lose it (KEP-2255).
// An annotation that is no 32-bit number counts as 0.
func DeletionCost(p *corev1.Pod) int {
	n, err := strconv.ParseInt(p.Annotations[corev1.PodDeletionCost], 10, 32)
	if err != nil {
		return 0
	}
	return int(n)
}

// SortForDeletion puts the pods that are missed least first. peers are all
// pods that count as copies of one another, these included: a pod among more
// of them on its node is missed less.
func SortForDeletion(pods, peers []*corev1.Pod, now time.Time) {
	onNode := map[string]int{}
	for _, p := range peers {
		if PodActive(p) {
			onNode[p.Spec.NodeName]++
		}
	}
	slices.SortStableFunc(pods, func(a, b *corev1.Pod) int {
		aSince, aReady := PodReady(a)
		bSince, bReady := PodReady(b)
		c := cmp.Or(
			falseFirst(a.Spec.NodeName != "", b.Spec.NodeName != ""),
			cmp.Compare(phaseRank(a), phaseRank(b)),
			falseFirst(aReady, bReady),
			cmp.Compare(DeletionCost(a), DeletionCost(b)),
			cmp.Compare(onNode[b.Spec.NodeName], onNode[a.Spec.NodeName]),
		)
		if c == 0 && aReady && bReady {
			c = cmp.Compare(ageRank(aSince.Time, now), ageRank(bSince.Time, now))
		}
		return cmp.Or(c,
			cmp.Compare(restarts(b), restarts(a)),
			cmp.Compare(ageRank(a.CreationTimestamp.Time, now), ageRank(b.CreationTimestamp.Time, now)),
			cmp.Compare(a.UID, b.UID),
		)
	})
}

func falseFirst(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

func phaseRank(p *corev1.Pod) int {
	switch p.Status.Phase {
	case corev1.PodPending, "":
		return 0
	case corev1.PodUnknown:
		return 1
	}
	return 2
}

// ageRank is the order of magnitude of an age: pods of about the same age are
// told apart by chance instead, which spreads the loss (KEP-2185). What has no
// time counts as new.
func ageRank(since, now time.Time) int {
	if since.IsZero() || !since.Before(now) {
		return -1
	}
	return bits.Len64(uint64(now.Sub(since)))
}

func restarts(p *corev1.Pod) (most int32) {
	for i := range p.Status.ContainerStatuses {
		most = max(most, p.Status.ContainerStatuses[i].RestartCount)
	}
	return most
}
