package apiserver

import (
	"net/http"
	"strconv"
	"time"

	"clipper/internal/apiserver/cache"
	"clipper/internal/measure"
	"clipper/internal/scheme"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
)

const (
	// bookmarkEvery is about how often a quiet watch is told how far it is.
	bookmarkEvery = time.Minute
	// watchAtLeast is how long a watch lasts when the client does not say; up
	// to twice that, so that not all come back at once.
	watchAtLeast = 30 * time.Minute
	// flushFrom is how much is gathered before it is written.
	flushFrom = 32 << 10
)

// Content types of watches, shared and never changed.
var watchTypes = [3][]string{
	scheme.JSON:     {"application/json"},
	scheme.Protobuf: {"application/vnd.kubernetes.protobuf;stream=watch"},
}

func (q *request) watch() error {
	if err := q.negotiate(shaped | streams | collection); err != nil {
		return err
	}
	if !q.kind.row.HasVerb("watch") {
		return q.notAllowed()
	}
	o, err := scheme.ParseListOptions(q.query)
	if err != nil {
		return err
	}
	if err := checkList(&o, true); err != nil {
		return err
	}
	sel, err := q.selection(&o)
	if err != nil {
		return err
	}
	from, err := revision(o.ResourceVersion)
	if err != nil {
		return err
	}
	initial := from == 0
	if o.SendInitialEvents != nil {
		initial = *o.SendInitialEvents
	}
	flusher, ok := q.w.(http.Flusher)
	if !ok {
		return apierrors.NewInternalError(http.ErrNotSupported)
	}
	s := &watchStream{request: q, flusher: flusher}
	s.marks = o.AllowWatchBookmarks
	s.initialMark = initial && o.SendInitialEvents != nil && o.AllowWatchBookmarks

	// From here on errors are events of the stream.
	q.w.Header()["Content-Type"] = watchTypes[q.form.media]
	q.code = http.StatusOK
	q.w.WriteHeader(http.StatusOK)
	w, err := q.kind.cache.Watch(q.ctx, sel, cache.WatchOptions{Revision: from, Initial: initial, Crowd: true})
	if err != nil {
		s.fail(err)
		return nil
	}
	defer w.Close()
	s.w = w
	return s.run(o.TimeoutSeconds)
}

// watchStream writes a watch's events.
type watchStream struct {
	*request
	w       *cache.Watcher
	flusher http.Flusher
	frames          // gathered, to be written
	room    *[]byte // frames.buf's, from the pool; nil while there is nothing to write
	written bool    // since the last flush

	marks       bool // bookmarks are wanted
	initialMark bool // the end of what existed is to be marked
	headed      bool // the columns of a table have been described
	marked      int64
}

// frames are events as a client is told them.
type frames struct {
	buf    []byte
	events [9]uint64 // how many, by the size of their objects
	bytes  int       // of these
}

func (f *frames) add(mt scheme.MediaType, t watch.EventType, object []byte) {
	f.events[measure.Bucket(eventBounds, float64(len(object)))]++
	f.bytes += len(object)
	if mt == scheme.Protobuf {
		f.buf = scheme.AppendEventProtobuf(f.buf, t, object)
	} else {
		f.buf = scheme.AppendEventJSON(f.buf, t, object)
	}
}

func (s *watchStream) run(seconds *int64) error {
	within := watchAtLeast + time.Duration(s.Rand.Uint64()%uint64(watchAtLeast))
	if seconds != nil && *seconds > 0 {
		within = time.Duration(*seconds) * time.Second
	}
	end := s.Clock.NewTimer(within)
	defer end.Stop()
	var tick <-chan time.Time
	if s.marks {
		// A little apart from each other.
		t := s.Clock.NewTicker(bookmarkEvery - time.Duration(s.Rand.Uint64()%uint64(bookmarkEvery/10)))
		defer t.Stop()
		tick = t.C()
	}
	s.flusher.Flush()
	for due, over := false, false; ; {
		batch, bell, err := s.w.Next()
		if going, ferr := s.tell(batch); ferr != nil {
			return s.fail(ferr)
		} else if !going {
			return nil
		}
		if s.initialMark {
			if at := s.w.InitialDone(); at > 0 {
				s.initialMark = false
				s.listed()
				if ferr := s.bookmark(at, true); ferr != nil {
					return s.fail(ferr)
				}
			}
		}
		if err != nil {
			return s.fail(err)
		}
		if bell == nil {
			continue
		}
		s.stand() // what there was has been said
		// Nothing more for now: what the watcher was told is complete up to
		// here, so this is where it may be marked.
		if at := s.w.Progress(); due && at > s.marked && !s.initialMark {
			if ferr := s.bookmark(at, false); ferr != nil {
				return s.fail(ferr)
			}
		}
		due = false
		if s.room != nil && !s.write() { // out with it, at one go
			return nil
		}
		if s.written {
			s.written = false
			s.flusher.Flush()
		}
		if over {
			return nil
		}
		select {
		case <-bell:
		case <-tick:
			due = true
		case <-end.C():
			// The last word is how far it went, so that it can go on from there.
			over, due = true, s.marks
		case <-s.ending:
			return nil
		case <-s.ctx.Done():
			return nil
		}
	}
}

// listed counts how long it took to tell what there was.
func (s *watchStream) listed() {
	st, key := s.stats()
	key.dryRun = "" // here it makes no difference
	if m := st.manner(key); m.listed != nil {
		m.listed.Took(s.Clock.Since(s.start))
	}
}

// tell tells what is in a batch, and whether the client still hears.
func (s *watchStream) tell(batch *cache.Batch) (going bool, err error) {
	if by := s.encoder(); by != nil && batch.IsShared() {
		all, err := cache.Shared(batch, by, func(ds []cache.Delivery) (*frames, error) {
			return framed(ds, by, s.form.media)
		})
		if err != nil || s.room != nil && !s.write() {
			return false, err
		}
		return s.send(all), nil
	}
	for _, d := range batch.Deliveries() {
		if err := s.event(&d); err != nil {
			return false, err
		}
		if len(s.buf) >= flushFrom && !s.write() {
			return false, nil
		}
	}
	return true, nil
}

// encoder makes the bytes of an object in the client's form, if an event has
// nothing but these; nil otherwise.
func (s *watchStream) encoder() *cache.Encoder {
	switch {
	case s.form.shape == table:
		return nil
	case s.form.shape == partly || s.form.shape == partlyList:
		if s.form.beta {
			return nil
		}
		return s.kind.partial[s.form.media]
	}
	return s.kind.encoders[s.form.media]
}

// framed returns what all who watch in one form are told.
func framed(ds []cache.Delivery, by *cache.Encoder, mt scheme.MediaType) (*frames, error) {
	objects, room := make([][]byte, len(ds)), 0
	for i := range ds {
		b, err := bytesOf(&ds[i], by)
		if err != nil {
			return nil, err
		}
		objects[i] = b
		room += len(b) + eventRoom
	}
	f := &frames{buf: make([]byte, 0, room)}
	for i, b := range objects {
		f.add(mt, ds[i].Type, b)
	}
	return f, nil
}

// eventRoom is what an event takes beyond its object, at most.
const eventRoom = 64

// write writes what was gathered, to be flushed. An idle watch holds no buffer.
func (s *watchStream) write() bool {
	ok := s.send(&s.frames)
	if *s.room = s.buf; cap(s.buf) <= smallMost {
		small.Put(s.room)
	}
	s.frames, s.room = frames{}, nil
	return ok
}

// send writes frames, to be flushed. They are counted now, so that all watches
// do not meet there at every event.
func (s *watchStream) send(f *frames) bool {
	s.kind.stats.events.AddMany(f.events[:], int64(f.bytes))
	s.written = true
	n, err := s.request.w.Write(f.buf)
	s.sent += int64(n)
	return err == nil
}

// event appends one event in the client's form.
func (s *watchStream) event(d *cache.Delivery) error {
	if by := s.encoder(); by != nil {
		b, err := bytesOf(d, by)
		if err == nil {
			s.frame(d.Type, b)
		}
		return err
	}
	if s.form.shape != table {
		p := partial(d.Entry.Object)
		p.APIVersion = betaVersion
		return s.append(d.Type, p)
	}
	t, err := s.table([]runtime.Object{d.Entry.Object}, !s.headed)
	if err != nil {
		return err
	}
	s.headed = true
	t.ResourceVersion = d.Entry.Meta().GetResourceVersion()
	return s.append(d.Type, t)
}

func bytesOf(d *cache.Delivery, by *cache.Encoder) ([]byte, error) {
	if d.Stood {
		return d.Entry.Bytes(by)
	}
	return d.Entry.News(by)
}

func (s *watchStream) frame(t watch.EventType, object []byte) {
	if s.room == nil {
		s.room = small.Get().(*[]byte)
		s.buf = (*s.room)[:0]
	}
	s.add(s.form.media, t, object)
}

// append appends an event about an object whose bytes are nobody else's.
func (s *watchStream) append(t watch.EventType, o runtime.Object) error {
	b, err := scheme.Encode(nil, s.form.media, o)
	if err != nil {
		return err
	}
	s.frame(t, b)
	return nil
}

// bookmark appends how far the watch is, as an object that has nothing but
// metadata.
func (s *watchStream) bookmark(revision int64, initial bool) error {
	s.marked = revision
	v := strconv.FormatInt(revision, 10)
	mark := func(o metav1.Object) {
		o.SetResourceVersion(v)
		if initial {
			o.SetAnnotations(map[string]string{metav1.InitialEventsAnnotationKey: "true"})
		}
	}
	switch s.form.shape {
	case table:
		o := s.kind.row.Stored.New()
		mark(o.(metav1.Object))
		t, err := s.table([]runtime.Object{o}, !s.headed)
		if err != nil {
			return err
		}
		s.headed = true
		t.ResourceVersion = v
		return s.append(watch.Bookmark, t)
	case partly, partlyList:
		p := partial(nil)
		if s.form.beta {
			p.APIVersion = betaVersion
		}
		mark(p)
		return s.append(watch.Bookmark, p)
	}
	o := s.kind.row.New()
	mark(o.(metav1.Object))
	return s.append(watch.Bookmark, o)
}

// fail ends the stream with the error as its last event.
func (s *watchStream) fail(err error) error {
	if aerr := s.append(watch.Error, statusOf(err)); aerr != nil {
		return aerr
	}
	if s.write() {
		s.flusher.Flush()
	}
	return nil
}
