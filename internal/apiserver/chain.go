package apiserver

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"clipper/internal/apiserver/fairness"
	"clipper/internal/auth"
	"clipper/internal/scheme"
	"clipper/internal/trace"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/user"
)

// requestWithin bounds every request that is not long by nature.
const requestWithin = 60 * time.Second

// request is one request on its way.
type request struct {
	*Server
	route
	w     http.ResponseWriter
	r     *http.Request
	ctx   context.Context
	query url.Values
	user  user.Info
	kind  *kind // of a resource request
	form  form  // of the answer
	start time.Time
	known time.Time // when it was found out who asks
	code  int
	sent  int64 // bytes of the answer

	span    trace.Span
	queued  time.Duration
	seat    fairness.Seat
	seated  bool
	counted *atomic.Int64 // which one of inflight counts the request
	single  bool          // a watch of one name
	handled bool          // it came to who answers it, and is counted
}

// chain is what every request passes. Audit would stand between authentication
// and authorisation.
func (s *Server) chain() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := &request{Server: s, w: w, r: r, ctx: r.Context(), start: s.Clock.Now()}
		defer q.recover()
		h := w.Header()
		h["Cache-Control"] = noCache
		q.unread()
		q.identify()
		q.trace()
		if err := q.serve(); err != nil {
			q.fail(err)
		}
		q.over()
	})
}

// over counts and logs a request whose answer is written.
func (q *request) over() {
	now := q.Clock.Now()
	q.observe(now)
	q.log(now)
	q.traced(now)
}

var noCache = []string{"no-cache, private"} // never changed

func (q *request) serve() error {
	path := q.r.URL.Path
	if q.r.URL.RawQuery != "" {
		q.query = q.r.URL.Query()
	}
	q.route = parse(q.r.Method, path, watches(q.query))
	if !q.long() {
		cancel, err := q.limit()
		if err != nil {
			return err
		}
		defer cancel()
	}
	var err error
	q.user, err = q.Authenticator.Authenticate(q.r)
	if q.authenticated(err); err != nil {
		return err
	}
	if q.r.TLS != nil && len(q.r.TLS.PeerCertificates) > 0 {
		q.metrics.expiry.Took(q.r.TLS.PeerCertificates[0].NotAfter.Sub(q.known))
	}
	defer q.leave()
	if err := q.enter(); err != nil {
		return err
	}
	if err := q.authorize(); err != nil {
		return err
	}
	if q.long() {
		q.receive(0) // as long as its parties want
	}
	if !q.resource {
		return q.path(path)
	}
	row := q.Table.ByPath(q.group, q.version, q.plural)
	if row == nil {
		if q.group != "" && !q.serves(q.group, "") {
			return q.nothing()
		}
		return notServed()
	}
	q.kind = q.kinds[row]
	if q.long() || q.subresource == "log" { // which may turn out to be long
		defer q.begun()()
	}
	if row.Namespaced && q.namespace == "" && q.name != "" {
		return notServed()
	}
	if !row.Namespaced && q.plural != "namespaces" && q.namespace != "" {
		return notServed()
	}
	return q.dispatch()
}

// limit gives the request its time: what it asks for, requestWithin at most.
func (q *request) limit() (context.CancelFunc, error) {
	within := requestWithin
	if t := q.query.Get("timeout"); t != "" {
		d, err := time.ParseDuration(t)
		if err != nil {
			return nil, apierrors.NewBadRequest("invalid timeout specified in the request URL - " + err.Error())
		}
		if d > 0 && d < within {
			within = d
		}
	}
	var cancel context.CancelFunc
	q.ctx, cancel = context.WithTimeout(q.ctx, within)
	return cancel, nil
}

// watches tells whether a list is to be a watch, which anything but a no says.
func watches(query url.Values) bool {
	v := query["watch"]
	return len(v) > 0 && v[0] != "0" && !strings.EqualFold(v[0], "false")
}

func isTrue(s string) bool { return s == "true" || s == "1" }

// authorize asks whether the user may do this at all.
func (q *request) authorize() error {
	a := auth.Attributes{User: q.user, Verb: q.verb}
	if q.resource {
		a.APIGroup, a.APIVersion = q.group, q.version
		a.Resource, a.Subresource = q.plural, q.subresource
		a.Namespace, a.Name = q.namespace, q.name
		a.Verb = auth.UpgradeVerb(q.plural, q.subresource, q.verb, q.r.Header.Get("Upgrade") != "")
		switch q.verb {
		case "list", "watch", "deletecollection":
			if f := q.query.Get("fieldSelector"); f != "" {
				if sel, err := fields.ParseSelector(f); err == nil {
					a.Fields = sel.Requirements()
					// A selection of one name is a request about that object.
					if name, ok := sel.RequiresExactMatch("metadata.name"); ok && q.name == "" {
						a.Name, q.single = name, q.verb == "watch"
					}
				}
			}
		}
	} else {
		a.Path = q.r.URL.Path
		if auth.Public(a.Path) && (a.Verb == "get" || a.Verb == "head") {
			return nil
		}
	}
	began := q.Clock.Now()
	may, reason, err := q.Authorizer.Authorize(q.ctx, a)
	took := q.Clock.Since(began)
	if err != nil && !may {
		q.metrics.guards.authorization[undecided].Took(took)
		if status := apierrors.APIStatus(nil); errors.As(err, &status) {
			return err
		}
		return apierrors.NewInternalError(err)
	}
	if !may {
		q.metrics.guards.authorization[noOpinion].Took(took)
		return auth.Forbidden(a, reason)
	}
	q.metrics.guards.authorization[allowed].Took(took)
	return nil
}

// long tells whether the request ends when its parties want it to.
func (q *request) long() bool {
	if q.verb == "watch" {
		return true
	}
	switch {
	case connects(q.subresource):
		return true
	case q.subresource == "log":
		return isTrue(q.query.Get("follow"))
	}
	return strings.HasPrefix(q.r.URL.Path, "/debug/pprof/")
}

// connects tells whether a subresource is a connection to somewhere else.
func connects(subresource string) bool {
	switch subresource {
	case "exec", "attach", "portforward", "proxy":
		return true
	}
	return false
}

// dispatch runs the verb of a resource request.
func (q *request) dispatch() error {
	if q.kind.row.Namespaced && q.namespace == "" {
		// Across all namespaces there is only reading: an object has no path
		// there, and no collection is deleted by a namespace left out.
		reads := q.verb == "list" || q.verb == "watch"
		if !q.kind.row.HasVerb("list") || !reads && q.name != "" {
			return notServed()
		}
		if !reads {
			return q.notAllowed()
		}
	}
	pathless := q.name != "" && q.subresource == "" && !slices.ContainsFunc([]string{"get", "update", "patch", "delete"}, q.kind.row.HasVerb)
	if pathless {
		return notServed() // what is created and not kept has no path of its own
	}
	if q.r.Method == http.MethodHead && !connects(q.subresource) {
		return q.notAllowed() // a resource has no headers to be asked for alone
	}
	if q.subresource != "" {
		return q.subresourceRequest()
	}
	if !q.kind.row.IsStored() && q.kind.row.HasVerb("get") {
		switch q.verb {
		case "get", "list", "watch":
			return q.componentStatus() // the one kind that is read without being kept
		}
	}
	if !q.kind.row.HasVerb(q.verb) || q.name == "" && (q.verb == "update" || q.verb == "patch") {
		return q.notAllowed()
	}
	var err error
	switch q.verb {
	case "get":
		err = q.get()
	case "list":
		err = q.list()
	case "watch":
		err = q.watch()
	case "create":
		err = q.create()
	case "update":
		err = q.update("")
	case "patch":
		err = q.patch("")
	case "delete":
		err = q.delete()
	case "deletecollection":
		err = q.deleteCollection()
	default:
		err = q.notAllowed()
	}
	return err
}

// notAllowed is the answer to a method that the path does not have.
func (q *request) notAllowed() error {
	return apierrors.NewGenericServerResponse(http.StatusMethodNotAllowed, "", schema.GroupResource{}, "", "", 0, false)
}

// notServed is the answer to a path that nothing serves.
func notServed() error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusNotFound, Reason: metav1.StatusReasonNotFound,
		Message: "the server could not find the requested resource", Details: &metav1.StatusDetails{},
	}}
}

// recover answers a request whose handler panicked; a bug must not end the
// process.
func (q *request) recover() {
	p := recover()
	if p == nil {
		return
	}
	if p == http.ErrAbortHandler {
		q.aborted()
		panic(p)
	}
	q.Logger.Error("request handler panicked", "method", q.r.Method, "path", q.r.URL.Path, "panic", p, "stack", string(debug.Stack()))
	if q.code != 0 {
		q.aborted()
		panic(http.ErrAbortHandler) // too late for a Status: cut the answer off
	}
	q.fail(apierrors.NewInternalError(errors.New("the request handler panicked")))
}

// fail answers with the Status of an error.
func (q *request) fail(err error) {
	if q.code != 0 {
		q.Logger.Debug("answer ended early", "method", q.r.Method, "path", q.r.URL.Path, "err", err)
		return
	}
	status := statusOf(err)
	if status.Code >= http.StatusInternalServerError && status.Code != http.StatusGatewayTimeout {
		q.Logger.Error("request failed", "method", q.r.Method, "path", q.r.URL.Path, "err", err)
	}
	media := q.form.media
	if !q.form.set {
		if f, ferr := negotiate(q.r.Header, plain); ferr == nil {
			media = f.media
		}
	}
	if d := status.Details; d != nil && d.RetryAfterSeconds > 0 {
		setInt(q.w.Header(), "Retry-After", int(d.RetryAfterSeconds))
	}
	body, eerr := scheme.Encode(nil, media, status)
	if eerr != nil {
		media = scheme.JSON
		body, _ = scheme.EncodeJSON(nil, status)
	}
	q.form = form{set: true, media: media, pretty: q.form.pretty}
	q.body(int(status.Code), body)
}

// statusOf returns what the API says about an error.
func statusOf(err error) *metav1.Status {
	var api apierrors.APIStatus
	var st metav1.Status
	switch {
	case errors.As(err, &api):
		st = api.Status()
	case errors.Is(err, context.DeadlineExceeded):
		st = apierrors.NewTimeoutError("request did not complete within the allotted timeout", 0).ErrStatus
	case errors.Is(err, context.Canceled):
		st = apierrors.NewTimeoutError("the request was canceled", 0).ErrStatus
	default:
		st = storeStatus(err)
	}
	st.Kind, st.APIVersion = "Status", "v1"
	if st.Status == "" {
		st.Status = metav1.StatusFailure
	}
	if st.Code == 0 {
		st.Code = http.StatusInternalServerError
	}
	return &st
}
