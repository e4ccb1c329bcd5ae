package apiserver_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"clipper/internal/apiserver"
	"clipper/internal/auth"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/authentication/user"
	testclock "k8s.io/utils/clock/testing"
)

// gate lets requests through one by one.
type gate struct {
	masters
	entered chan struct{}
	open    chan struct{}
	heard   chan struct{} // of alice
}

func (g gate) Authorize(ctx context.Context, a auth.Attributes) (bool, string, error) {
	if a.User.GetName() == "bob" {
		g.entered <- struct{}{}
		<-g.open
		return true, "", nil
	}
	if a.User.GetName() == "alice" {
		g.heard <- struct{}{}
	}
	return g.masters.Authorize(ctx, a)
}

const newMap = "/api/v1/namespaces/default/configmaps"

// post makes an object; it returns nothing if the test is over.
func (r *raw) post() *http.Response {
	req, err := http.NewRequestWithContext(r.t.Context(), "POST", r.base+newMap, strings.NewReader(`{"metadata":{"generateName":"m-"}}`))
	if err != nil {
		r.t.Error(err)
		return nil
	}
	res, err := r.http.Do(req)
	if err != nil {
		r.t.Error(err)
		return nil
	}
	io.Copy(io.Discard, res.Body)
	res.Body.Close()
	return res
}

// One client makes all the requests it can, and none of them ends. Others get
// in: at once, or as soon as one seat is free.
func TestNoisyClient(t *testing.T) {
	g := gate{entered: make(chan struct{}), open: make(chan struct{}), heard: make(chan struct{})}
	clk := testclock.NewFakeClock(time.Now()) // nobody waits too long, however slow the machine
	c := start(t, func(c *apiserver.Config) { c.Authorizer, c.MaxInflight, c.Clock = g, 60, clk })
	bob, alice := c.raw(t, "bob", "system:authenticated"), c.raw(t, "alice", "system:authenticated")
	const (
		most  = 400
		queue = 6 * 50 // six queues are one flow's
	)
	answers := make(chan *http.Response, most)
	var wg sync.WaitGroup
	for range most {
		wg.Go(func() { answers <- bob.post() })
	}
	entered, refused := 0, 0
	for entered+refused < most-queue {
		select {
		case <-g.entered:
			entered++
		case res := <-answers:
			if refused++; res.StatusCode != http.StatusTooManyRequests || res.Header.Get("Retry-After") != "1" {
				t.Fatalf("%+v", res)
			}
		}
	}
	if entered < 10 || refused == 0 {
		t.Errorf("%d came in and %d were refused", entered, refused)
	}
	// Whoever is forbidden was heard. Masters are exempt, nodes and service
	// accounts have levels of their own, and who is inside needs no seat.
	if res, body := c.raw(t, "admin", "system:masters").do("POST", newMap, `{"metadata":{"name":"m"}}`); res.StatusCode != http.StatusCreated {
		t.Error(body)
	}
	for name, groups := range map[string][]string{
		"system:node:n": {"system:nodes"}, "system:serviceaccount:a:b": {"system:serviceaccounts"}, "system:kube-scheduler": nil,
	} {
		if res, body := c.raw(t, name, append(groups, "system:authenticated")...).do("POST", newMap, `{}`); res.StatusCode != http.StatusForbidden {
			t.Error(name, res.Status, body)
		}
	}
	own := auth.WithUser(t.Context(), &user.DefaultInfo{Name: "bob's own"})
	w := httptest.NewRecorder()
	c.server.Handler().ServeHTTP(w, httptest.NewRequestWithContext(own, "POST", newMap, strings.NewReader(`{}`)))
	if w.Code != http.StatusForbidden {
		t.Error(w.Code, w.Body)
	}
	// Alice is of the same level, and hundreds are before her; but she has had
	// no more than the six queues that are bob's, so they are served in turn.
	wg.Go(func() {
		if res := alice.post(); res.StatusCode != http.StatusForbidden {
			t.Error(res.Status)
		}
	})
	admin := c.raw(t, "admin", "system:masters")
	for queued := false; !queued; {
		_, body := admin.do("GET", "/metrics", "")
		queued = strings.Contains(body, fmt.Sprintf("apiserver_flowcontrol_current_inqueue_requests{flow_schema=\"global-default\",priority_level=\"global-default\"} %d\n", queue+1))
	}
	for tries := 1; ; tries++ {
		clk.Step(time.Millisecond)
		g.open <- struct{}{}
		select {
		case <-g.entered:
			if tries > 6 {
				t.Fatal("alice is still not heard")
			}
			continue
		case <-g.heard:
		}
		break
	}
	close(g.open)
	over := make(chan struct{})
	go func() { wg.Wait(); close(over) }()
	for waiting := true; waiting; {
		select {
		case <-g.entered:
		case <-over:
			waiting = false
		}
	}
	if _, body := admin.do("GET", "/metrics", ""); !strings.Contains(body, `apiserver_flowcontrol_rejected_requests_total{flow_schema="global-default",priority_level="global-default",reason="queue-full"}`) {
		t.Error("the refused requests are not in the metrics")
	}
}

// The objects that configure who waits for whom exist, are put back, and say
// whether they lead anywhere.
func TestFlowControl(t *testing.T) {
	c := start(t)
	admin := c.admin("").FlowcontrolV1()
	follow, err := admin.FlowSchemas().Watch(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer follow.Stop()
	// until waits for a FlowSchema as it is to be.
	until := func(name string, is func(watch.EventType, *flowcontrolv1.FlowSchema) bool) *flowcontrolv1.FlowSchema {
		t.Helper()
		for e := range follow.ResultChan() {
			if f, ok := e.Object.(*flowcontrolv1.FlowSchema); ok && f.Name == name && is(e.Type, f) {
				return f
			}
		}
		t.Fatalf("%s: the watch ended", name)
		return nil
	}
	found := func(_ watch.EventType, f *flowcontrolv1.FlowSchema) bool {
		return len(f.Status.Conditions) == 1 && f.Status.Conditions[0].Reason == "Found"
	}
	first := until("catch-all", found)
	if err := admin.FlowSchemas().Delete(t.Context(), "catch-all", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	until("catch-all", func(e watch.EventType, f *flowcontrolv1.FlowSchema) bool {
		return e != watch.Deleted && f.UID != first.UID && found(e, f)
	})
	mine := &flowcontrolv1.FlowSchema{
		ObjectMeta: metav1.ObjectMeta{Name: "mine"},
		Spec: flowcontrolv1.FlowSchemaSpec{
			MatchingPrecedence:         3,
			PriorityLevelConfiguration: flowcontrolv1.PriorityLevelConfigurationReference{Name: "mine"},
			Rules: []flowcontrolv1.PolicyRulesWithSubjects{{
				Subjects:         []flowcontrolv1.Subject{{Kind: "User", User: &flowcontrolv1.UserSubject{Name: "carol"}}},
				NonResourceRules: []flowcontrolv1.NonResourcePolicyRule{{Verbs: []string{"*"}, NonResourceURLs: []string{"*"}}},
			}},
		},
	}
	if mine, err = admin.FlowSchemas().Create(t.Context(), mine, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	until("mine", func(_ watch.EventType, f *flowcontrolv1.FlowSchema) bool {
		return len(f.Status.Conditions) == 1 && f.Status.Conditions[0].Status == flowcontrolv1.ConditionTrue
	})
	carol := c.raw(t, "carol", "system:authenticated")
	if res, _ := carol.do("GET", "/livez", ""); res.Header.Get(flowcontrolv1.ResponseHeaderMatchedFlowSchemaUID) == string(mine.UID) {
		t.Error("a FlowSchema without a level is in force")
	}
	var shares int32 = 1
	level, err := admin.PriorityLevelConfigurations().Create(t.Context(), &flowcontrolv1.PriorityLevelConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "mine"},
		Spec: flowcontrolv1.PriorityLevelConfigurationSpec{
			Type: "Limited", Limited: &flowcontrolv1.LimitedPriorityLevelConfiguration{
				NominalConcurrencyShares: &shares, LimitResponse: flowcontrolv1.LimitResponse{Type: "Reject"},
			},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	until("mine", found)
	res, body := carol.do("GET", "/version", "")
	if got := res.Header.Get(flowcontrolv1.ResponseHeaderMatchedFlowSchemaUID); got != string(mine.UID) {
		t.Errorf("flow schema %q, want %q", got, mine.UID)
	}
	if got := res.Header.Get(flowcontrolv1.ResponseHeaderMatchedPriorityLevelConfigurationUID); got != string(level.UID) {
		t.Errorf("priority level %q, want %q", got, level.UID)
	}
	if !json.Valid([]byte(body)) {
		t.Error(body)
	}
}
