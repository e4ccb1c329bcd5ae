package apiserver_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// call is one request to one ConfigMap, and its answer.
type call struct {
	op, key, value, expect string // expect is the resourceVersion an update insists on
}

type answer struct {
	value, version string // empty: there is no such object
	refused        bool   // exists already, does not exist, or has been modified
}

// registers is the model: objects that hold a value, under a version.
var registers = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		by := map[string][]porcupine.Operation{}
		for _, o := range history {
			k := o.Input.(call).key
			by[k] = append(by[k], o)
		}
		var parts [][]porcupine.Operation
		for _, p := range by {
			parts = append(parts, p)
		}
		return parts
	},
	Init: func() any { return answer{} },
	Step: func(state, input, output any) (bool, any) {
		s, in, out := state.(answer), input.(call), output.(answer)
		exists := s.version != ""
		switch in.op {
		case "get":
			return out == s, s
		case "create":
			if out.refused {
				return exists, s
			}
			return !exists, answer{value: in.value, version: out.version}
		case "update":
			if out.refused {
				return !exists || s.version != in.expect, s
			}
			return exists && s.version == in.expect, answer{value: in.value, version: out.version}
		case "delete":
			if out.refused {
				return !exists, s
			}
			return exists, answer{}
		}
		return false, s
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v -> %+v", input, output) },
}

// TestHistoryIsLinear has clients read and write the same few objects through
// two media types, side by side, and checks that the answers fit one order.
func TestHistoryIsLinear(t *testing.T) {
	c := start(t)
	var (
		mu      sync.Mutex
		history []porcupine.Operation
		wg      sync.WaitGroup
		begin   = time.Now()
	)
	for client := range 6 {
		media := runtime.ContentTypeJSON
		if client%2 == 0 {
			media = runtime.ContentTypeProtobuf
		}
		maps := c.admin(media).CoreV1().ConfigMaps("default")
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(client), 3))
			seen := map[string]string{}
			for i := range 250 {
				in := call{key: fmt.Sprint("k", rnd.IntN(3)), value: fmt.Sprintf("%d-%d", client, i)}
				m := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: in.key}, Data: map[string]string{"v": in.value}}
				var (
					got *corev1.ConfigMap
					err error
					out answer
				)
				from := time.Since(begin)
				switch n := rnd.IntN(10); {
				case n < 4:
					in.op = "get"
					got, err = maps.Get(t.Context(), in.key, metav1.GetOptions{})
				case n < 6:
					in.op = "create"
					got, err = maps.Create(t.Context(), m, metav1.CreateOptions{})
				case n < 9 && seen[in.key] != "":
					in.op, in.expect = "update", seen[in.key]
					m.ResourceVersion = in.expect
					got, err = maps.Update(t.Context(), m, metav1.UpdateOptions{})
				default:
					in.op = "delete"
					err = maps.Delete(t.Context(), in.key, metav1.DeleteOptions{})
				}
				to := time.Since(begin)
				switch {
				case err == nil && got != nil:
					out = answer{value: got.Data["v"], version: got.ResourceVersion}
					seen[in.key] = got.ResourceVersion
				case err == nil:
				case apierrors.IsNotFound(err) && in.op == "get":
				case apierrors.IsNotFound(err), apierrors.IsAlreadyExists(err), apierrors.IsConflict(err):
					out.refused = true
				default:
					t.Error(err)
					return
				}
				mu.Lock()
				history = append(history, porcupine.Operation{
					ClientId: client, Input: in, Output: out, Call: from.Nanoseconds(), Return: to.Nanoseconds(),
				})
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if res := porcupine.CheckOperationsTimeout(registers, history, 30*time.Second); res != porcupine.Ok {
		t.Errorf("no order explains the history of %d calls: %v", len(history), res)
	}
}
