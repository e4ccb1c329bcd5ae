package job

import (
	"fmt"
	"math"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"pgregory.net/rapid"

	"clipper/internal/controller"
	"clipper/internal/controller/controllertest"
)

func TestScenarios(t *testing.T) {
	controllertest.Run(t, func(api *controllertest.API, c controller.Config) []controller.Controller {
		return []controller.Controller{New(c)}
	})
}

func TestIndexes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var x indexes
		for range rapid.IntRange(0, 30).Draw(t, "n") {
			x = x.with(rapid.IntRange(0, 40).Draw(t, "index"))
		}
		if got := parseIndexes(x.String(), 41); fmt.Sprint(got) != fmt.Sprint(x) {
			t.Fatalf("%v became %q and then %v", []int(x), x, []int(got))
		}
	})
}

// Every pod that ends is counted once, whatever happens between the writes;
// a Job ends with as many successes as it asks for, or with too many failures,
// and with no pod left behind.
func TestPlan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Unix(1000, 0)
		j := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "j", Namespace: "a", UID: "u"}}
		j.Spec.Parallelism = ptr.To(int32(rapid.IntRange(1, 4).Draw(t, "parallelism")))
		j.Spec.Completions = ptr.To(int32(rapid.IntRange(0, 6).Draw(t, "completions")))
		j.Spec.BackoffLimit = ptr.To(int32(rapid.IntRange(0, 4).Draw(t, "backoff")))
		if rapid.Bool().Draw(t, "indexed") {
			j.Spec.CompletionMode = ptr.To(batchv1.IndexedCompletion)
			if rapid.Bool().Draw(t, "by index") {
				j.Spec.BackoffLimit = ptr.To(int32(math.MaxInt32))
				j.Spec.BackoffLimitPerIndex = ptr.To(int32(rapid.IntRange(0, 2).Draw(t, "backoff per index")))
			}
		}
		tries := map[int]int{} // of each index, to tell of a count that was lost
		pods := map[string]*corev1.Pod{}
		made, succeeded, failed := 0, int32(0), int32(0)
		done := map[int]bool{}
		sync := func() {
			var all []*corev1.Pod
			for _, p := range pods {
				all = append(all, p)
			}
			p := newPlan(j, all, now)
			lost := rapid.IntRange(0, 5).Draw(t, "lost") // the process ends after so many writes
			j = j.DeepCopy()
			j.Status = p.status
			for i, pod := range p.release {
				if i >= lost {
					return
				}
				w := pod.DeepCopy()
				w.Finalizers = nil
				pods[pod.Name] = w
				if w.DeletionTimestamp != nil && controller.PodEnded(w) {
					delete(pods, pod.Name)
				}
			}
			for _, pod := range p.delete {
				w := pods[pod.Name].DeepCopy()
				w.DeletionTimestamp = &metav1.Time{Time: now}
				pods[pod.Name] = w
			}
			for _, c := range p.create {
				made++
				pod := podOf(j, c)
				pod.Name, pod.UID = fmt.Sprint("p", made), types.UID(fmt.Sprint(made))
				pod.Spec.NodeName = "n"
				pods[pod.Name] = pod
			}
			active := 0
			for _, p := range pods {
				if controller.PodActive(p) {
					active++
				}
			}
			if active > int(*j.Spec.Parallelism) {
				t.Fatalf("%d pods are active, %d may", active, *j.Spec.Parallelism)
			}
		}
		end := func(name string, ok bool) {
			p := pods[name]
			if p == nil || controller.PodEnded(p) {
				return
			}
			p = p.DeepCopy()
			p.Status.Phase = corev1.PodFailed
			if ok {
				p.Status.Phase = corev1.PodSucceeded
				if n := indexOf(p); !indexed(j) || !done[n] {
					succeeded++
					done[n] = true
				}
			} else {
				failed++
				if n := indexOf(p); p.DeletionTimestamp == nil {
					if tries[n]++; limitedByIndex(j) && tries[n] > int(*j.Spec.BackoffLimitPerIndex)+1 {
						t.Fatalf("index %d has been tried %d times", n, tries[n])
					}
				}
			}
			pods[name] = p
		}
		for i := 0; !finished(&j.Status) || len(pods) > 0 && i < 500; i++ {
			if i == 500 {
				t.Fatalf("does not end: %+v", j.Status)
			}
			now = now.Add(time.Minute)
			switch rapid.IntRange(0, 2).Draw(t, "what") {
			case 0:
				sync()
			case 1:
				end(fmt.Sprint("p", rapid.IntRange(1, made+1).Draw(t, "pod")), rapid.IntRange(0, 3).Draw(t, "ok") > 0)
			default: // time passes: all end, those that ended and are free go
				sync()
				for name, p := range pods {
					switch {
					case !controller.PodEnded(p):
						end(name, p.DeletionTimestamp == nil)
					case len(p.Finalizers) == 0:
						delete(pods, name)
					}
				}
			}
		}
		s := j.Status
		if s.Failed != failed || s.Succeeded != succeeded {
			t.Fatalf("counted %d successes of %d, %d failures of %d", s.Succeeded, succeeded, s.Failed, failed)
		}
		if holds(&s, batchv1.JobComplete) && s.Succeeded < *j.Spec.Completions {
			t.Fatalf("complete with %d of %d", s.Succeeded, *j.Spec.Completions)
		}
		if limitedByIndex(j) {
			if lost := parseIndexes(*s.FailedIndexes, 10); holds(&s, batchv1.JobFailed) != (len(lost) > 0) {
				t.Fatalf("indexes that failed: %v, %+v", lost, s.Conditions)
			}
		} else if holds(&s, batchv1.JobFailed) && s.Failed <= *j.Spec.BackoffLimit {
			t.Fatalf("failed with %d failures, %d are allowed", s.Failed, *j.Spec.BackoffLimit)
		}
		if holds(&s, batchv1.JobFailed) == holds(&s, batchv1.JobComplete) {
			t.Fatalf("both or neither complete and failed")
		}
	})
}
