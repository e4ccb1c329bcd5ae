package history

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	applycorev1 "k8s.io/client-go/applyconfigurations/core/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
)

// Recorder lets clients call a cluster and keeps what they asked and were told.
type Recorder struct {
	// Clients returns the ConfigMaps of the namespace that nobody else writes
	// to, for a client of its own connection; n chooses among media types.
	Clients func(n int) corev1client.ConfigMapInterface

	begin time.Time
	mu    sync.Mutex
	h     History
	err   error

	// up is closed while the cluster answers; a client that was cut off waits
	// for it.
	up chan struct{}
}

// NewRecorder returns a Recorder of a cluster that is up.
func NewRecorder(clients func(n int) corev1client.ConfigMapInterface) *Recorder {
	up := make(chan struct{})
	close(up)
	return &Recorder{Clients: clients, begin: time.Now(), up: up}
}

// Down tells that the cluster is about to be killed; the returned function, that
// it is back.
func (r *Recorder) Down() (back func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	up := make(chan struct{})
	r.up = up
	return func() { close(up) }
}

// await returns once the cluster is up.
func (r *Recorder) await(ctx context.Context) {
	r.mu.Lock()
	up := r.up
	r.mu.Unlock()
	select {
	case <-up:
	case <-ctx.Done():
	}
}

func (r *Recorder) now() int64 { return time.Since(r.begin).Nanoseconds() }

// fail keeps the first error that no kill explains.
func (r *Recorder) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.err = err
	}
}

// History returns what was recorded, and the first answer that has no place in
// a history.
func (r *Recorder) History() (*History, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return &r.h, r.err
}

// cut tells whether an error is one of a connection that ended, or of a server
// that goes or comes.
func cut(err error) bool {
	return !answered(err) || apierrors.IsServiceUnavailable(err) || apierrors.IsTimeout(err)
}

// answered tells whether an error is a server's answer.
func answered(err error) bool {
	var status apierrors.APIStatus
	return errors.As(err, &status)
}

// notSent tells whether the request never left.
func notSent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

func state(m *corev1.ConfigMap) (State, error) {
	n, err := strconv.ParseInt(m.ResourceVersion, 10, 64)
	return State{m.Data["v"], n}, err
}

// Write makes n random calls about the keys.
func (r *Recorder) Write(ctx context.Context, client, n int, keys []string) {
	maps := r.Clients(client)
	rnd := rand.New(rand.NewPCG(uint64(client), uint64(r.now())))
	seen := map[string]int64{}
	for i := range n {
		if ctx.Err() != nil {
			return
		}
		o := Op{Client: client, Key: keys[rnd.IntN(len(keys))], Value: fmt.Sprintf("%d.%d.%d", client, r.now(), i)}
		switch k := rnd.IntN(20); {
		case k < 5:
			o.Verb, o.Value = "get", ""
		case k < 8:
			o.Verb = "create"
		case k < 12:
			o.Verb, o.Expect = "update", seen[o.Key]
		case k < 14:
			o.Verb = "update"
		case k < 16:
			o.Verb, o.Form = "patch", patchForms[rnd.IntN(len(patchForms))]
			if rnd.IntN(2) == 0 {
				o.Expect = seen[o.Key]
			}
		case k < 17:
			o.Verb = "apply"
		case k < 18:
			o.Verb, o.Value, o.Expect = "delete", "", seen[o.Key]
		default:
			o.Verb, o.Value = "delete", ""
		}
		err := r.call(ctx, maps, &o)
		if o.Got.Revision > 0 {
			seen[o.Key] = o.Got.Revision
		}
		if err != nil {
			if !cut(err) {
				r.fail(fmt.Errorf("%s of %s: %w", o.Verb, o.Key, err))
				return
			}
			r.await(ctx)
			// Whoever was asked is dead by now.
			if o.Return = r.now(); answered(err) {
				o.Return = math.MaxInt64
			}
		}
		if o.Outcome == Unknown && (o.Verb == "get" || notSent(err)) {
			continue
		}
		r.mu.Lock()
		r.h.Ops = append(r.h.Ops, o)
		r.mu.Unlock()
	}
}

// call makes the call and notes its outcome; the error is one that is no outcome.
func (r *Recorder) call(ctx context.Context, maps corev1client.ConfigMapInterface, o *Op) (err error) {
	m := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: o.Key, Labels: map[string]string{"half": Half(o.Value)}}, Data: map[string]string{"v": o.Value}}
	if o.Expect > 0 {
		m.ResourceVersion = strconv.FormatInt(o.Expect, 10)
	}
	var got *corev1.ConfigMap
	o.Call = r.now()
	switch o.Verb {
	case "get":
		got, err = maps.Get(ctx, o.Key, metav1.GetOptions{})
	case "create":
		got, err = maps.Create(ctx, m, metav1.CreateOptions{})
	case "update":
		got, err = maps.Update(ctx, m, metav1.UpdateOptions{})
	case "patch":
		got, err = maps.Patch(ctx, o.Key, o.Form, patch(o), metav1.PatchOptions{})
	case "apply":
		c := applycorev1.ConfigMap(o.Key, "").WithLabels(m.Labels).WithData(m.Data)
		c.Namespace = nil // the client's
		got, err = maps.Apply(ctx, c, metav1.ApplyOptions{FieldManager: fmt.Sprint("applier-", o.Client%2), Force: true})
	case "delete":
		d := metav1.DeleteOptions{}
		if o.Expect > 0 {
			d.Preconditions = &metav1.Preconditions{ResourceVersion: &m.ResourceVersion}
		}
		err = maps.Delete(ctx, o.Key, d)
	}
	o.Return = r.now()
	switch {
	case err == nil && o.Verb == "delete":
		return nil
	case err == nil:
		o.Got, err = state(got)
		return err
	case o.Verb == "get" && apierrors.IsNotFound(err):
		return nil
	case apierrors.IsNotFound(err), apierrors.IsAlreadyExists(err), apierrors.IsConflict(err),
		apierrors.IsInvalid(err) && o.Form == types.JSONPatchType: // a test that fails
		o.Outcome = Refused
		return nil
	}
	o.Outcome = Unknown
	return err
}

var patchForms = []types.PatchType{types.MergePatchType, types.StrategicMergePatchType, types.JSONPatchType}

// patch returns what makes an object's value and half those of a call, if the
// object is at the revision it insists on.
func patch(o *Op) []byte {
	if o.Form == types.JSONPatchType {
		test := ""
		if o.Expect != 0 {
			test = fmt.Sprintf(`{"op":"test","path":"/metadata/resourceVersion","value":"%d"},`, o.Expect)
		}
		return fmt.Appendf(nil, `[%s{"op":"replace","path":"/metadata/labels/half","value":%q},{"op":"replace","path":"/data/v","value":%q}]`, test, Half(o.Value), o.Value)
	}
	at := ""
	if o.Expect != 0 {
		at = fmt.Sprintf(`"resourceVersion":"%d",`, o.Expect)
	}
	return fmt.Appendf(nil, `{"metadata":{%s"labels":{"half":%q}},"data":{"v":%q}}`, at, Half(o.Value), o.Value)
}

// List makes n random lists.
func (r *Recorder) List(ctx context.Context, client, n int) {
	maps := r.Clients(client)
	rnd := rand.New(rand.NewPCG(uint64(client), uint64(r.now())))
	last, past := int64(0), []int64(nil)
	for range n {
		if ctx.Err() != nil {
			return
		}
		l := List{Client: client, Items: map[string]State{}}
		var o metav1.ListOptions
		switch k := rnd.IntN(10); {
		case k < 4 || last == 0:
			l.Fresh = true
		case k < 6:
			o.ResourceVersion = "0"
		case k < 8:
			o.ResourceVersion, o.ResourceVersionMatch, l.AtLeast = strconv.FormatInt(last, 10), metav1.ResourceVersionMatchNotOlderThan, last
		default:
			at := past[rnd.IntN(len(past))]
			o.ResourceVersion, o.ResourceVersionMatch, l.Exactly = strconv.FormatInt(at, 10), metav1.ResourceVersionMatchExact, at
		}
		if rnd.IntN(3) == 0 {
			l.Label = "odd"
			o.LabelSelector = "half=odd"
		}
		if rnd.IntN(2) == 0 {
			o.Limit = int64(1 + rnd.IntN(4))
		}
		l.Call = r.now()
		err := list(ctx, maps, o, &l)
		l.Return = r.now()
		switch {
		case err == nil:
			last, past = max(last, l.Revision), append(past, l.Revision)
			r.mu.Lock()
			r.h.Lists = append(r.h.Lists, l)
			r.mu.Unlock()
		case apierrors.IsResourceExpired(err): // the past is forgotten, as by a restart
			last, past = 0, nil
		case cut(err):
			r.await(ctx)
		default:
			r.fail(fmt.Errorf("list %+v: %w", o, err))
			return
		}
	}
}

// list reads all pages of a list.
func list(ctx context.Context, maps corev1client.ConfigMapInterface, o metav1.ListOptions, l *List) error {
	for {
		p, err := maps.List(ctx, o)
		if err != nil {
			return err
		}
		at, err := strconv.ParseInt(p.ResourceVersion, 10, 64)
		if err != nil {
			return err
		}
		if l.Revision != 0 && at != l.Revision {
			return fmt.Errorf("a page is of revision %d, within a list of %d", at, l.Revision)
		}
		l.Revision = at
		for i := range p.Items {
			m := &p.Items[i]
			if m.Data["v"] == "" {
				continue // not of a recorder: the cluster's own
			}
			if _, twice := l.Items[m.Name]; twice {
				l.Repeated = append(l.Repeated, m.Name)
			}
			if l.Items[m.Name], err = state(m); err != nil {
				return err
			}
		}
		if o.Continue = p.Continue; o.Continue == "" {
			return nil
		}
		o.ResourceVersion, o.ResourceVersionMatch = "", ""
	}
}

// Watching is how a watcher watches.
type Watching struct {
	Name  string
	Label string // watch one half only
	// Stream begins with a streamed list instead of a list.
	Stream bool
	// Leave, if positive, ends a connection after about so many events, to come
	// back where it was.
	Leave int
}

// Watch watches until it has seen the object last-odd or last-even deleted, of its
// own half; the latter is the last of all. It returns that object's value, or
// nothing if it never saw one.
func (r *Recorder) Watch(ctx context.Context, client int, how Watching, last string) (value string) {
	maps := r.Clients(client)
	rnd := rand.New(rand.NewPCG(uint64(client), uint64(r.now())))
	var s *Segment
	keep := func() {
		if s != nil {
			r.mu.Lock()
			r.h.Segments = append(r.h.Segments, *s)
			r.mu.Unlock()
		}
		s = nil
	}
	defer keep()
	for ctx.Err() == nil {
		var err error
		if s == nil && !how.Stream {
			s, err = r.base(ctx, client, maps, how)
		}
		done := false
		if err == nil {
			leave := 0
			if how.Leave > 0 {
				leave = 1 + rnd.IntN(2*how.Leave)
			}
			done, err = r.follow(ctx, client, maps, how, &s, leave, last)
		}
		switch {
		case done:
			return s.Events[len(s.Events)-1].Value
		case err == nil:
		case apierrors.IsResourceExpired(err), apierrors.IsGone(err):
			keep()
		case cut(err):
			r.await(ctx)
		default:
			r.fail(fmt.Errorf("watcher %s: %w", how.Name, err))
			return ""
		}
	}
	return ""
}

// base begins a segment with a list.
func (r *Recorder) base(ctx context.Context, client int, maps corev1client.ConfigMapInterface, how Watching) (*Segment, error) {
	l := List{Client: client, Fresh: true, Label: how.Label, Items: map[string]State{}}
	o := metav1.ListOptions{}
	if how.Label != "" {
		o.LabelSelector = "half=" + how.Label
	}
	l.Call = r.now()
	if err := list(ctx, maps, o, &l); err != nil {
		return nil, err
	}
	l.Return = r.now()
	r.mu.Lock()
	r.h.Lists = append(r.h.Lists, l)
	r.mu.Unlock()
	return &Segment{Watcher: how.Name, Label: how.Label, From: l.Revision, Base: l.Items}, nil
}

// follow watches from where the segment ends; it begins one if there is none.
// It tells whether the last event was seen.
func (r *Recorder) follow(ctx context.Context, client int, configMaps corev1client.ConfigMapInterface, how Watching, at **Segment, leave int, last string) (bool, error) {
	o := metav1.ListOptions{AllowWatchBookmarks: true}
	if how.Label != "" {
		o.LabelSelector = "half=" + how.Label
	}
	s := *at
	var l List
	if s == nil {
		yes := true
		o.SendInitialEvents, o.ResourceVersionMatch = &yes, metav1.ResourceVersionMatchNotOlderThan
		l = List{Client: client, Fresh: true, Label: how.Label, Items: map[string]State{}, Call: r.now()}
	} else {
		o.ResourceVersion = strconv.FormatInt(s.last(), 10)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w, err := configMaps.Watch(ctx, o)
	if err != nil {
		return false, err
	}
	defer w.Stop()
	for e := range w.ResultChan() {
		if e.Type == watch.Error {
			return false, apierrors.FromObject(e.Object)
		}
		m, ok := e.Object.(*corev1.ConfigMap)
		if !ok {
			return false, fmt.Errorf("an event %s of %T", e.Type, e.Object)
		}
		st, err := state(m)
		if err != nil {
			return false, err
		}
		switch {
		case e.Type == watch.Bookmark && s == nil:
			if m.Annotations[metav1.InitialEventsAnnotationKey] != "true" {
				return false, errors.New("a bookmark among the initial events is not theirs")
			}
			l.Revision, l.Return = st.Revision, r.now()
			s = &Segment{Watcher: how.Name, Label: how.Label, From: l.Revision, Base: maps.Clone(l.Items)}
			*at = s
			r.mu.Lock()
			r.h.Lists = append(r.h.Lists, l)
			r.mu.Unlock()
		case e.Type == watch.Bookmark:
		case st.Value == "": // not of a recorder
		case s == nil && e.Type != watch.Added:
			return false, fmt.Errorf("%s among the initial events", e.Type)
		case s == nil:
			if _, twice := l.Items[m.Name]; twice {
				l.Repeated = append(l.Repeated, m.Name)
			}
			l.Items[m.Name] = st
		default:
			s.Events = append(s.Events, Event{string(e.Type), m.Name, st})
			if e.Type == watch.Deleted && m.Name == last+"-"+cmp.Or(how.Label, "even") {
				return true, nil
			}
			if leave--; leave == 0 {
				return false, nil
			}
		}
	}
	return false, nil // ended by the server: come back
}
