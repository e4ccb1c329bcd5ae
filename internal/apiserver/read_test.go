package apiserver_test

import (
	"bufio"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"clipper/internal/apiserver"
	"clipper/internal/apiserver/table"
	"clipper/internal/auth"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/utils/clock"
	testclock "k8s.io/utils/clock/testing"
)

const mapsPath = "/api/v1/namespaces/default/configmaps"

// listed is the part of an answer that lists have.
type listed struct {
	Kind, APIVersion string
	Metadata         metav1.ListMeta
	Items            []metav1.PartialObjectMetadata
}

func (l listed) names() string {
	var all []string
	for _, i := range l.Items {
		all = append(all, i.Name)
	}
	return strings.Join(all, " ")
}

// list expects a list.
func (r *raw) list(path string, headers ...string) (l listed) {
	r.t.Helper()
	res, body := r.do("GET", path, "", headers...)
	if err := json.Unmarshal([]byte(body), &l); err != nil || res.StatusCode != 200 {
		r.t.Fatalf("%s: %d %s", path, res.StatusCode, body)
	}
	return l
}

// create makes ConfigMaps, each with labels n=NAME and even=true or false, and
// returns their revisions.
func (r *raw) create(names ...string) (revisions []string) {
	r.t.Helper()
	for i, n := range names {
		res, body := r.do("POST", mapsPath, fmt.Sprintf(`{"metadata":{"name":%q,"labels":{"n":%q,"even":"%v"}},"data":{"k":%q}}`, n, n, i%2 == 0, n), "Content-Type", "application/json")
		var m metav1.PartialObjectMetadata
		if err := json.Unmarshal([]byte(body), &m); err != nil || res.StatusCode != 201 {
			r.t.Fatalf("%d %s", res.StatusCode, body)
		}
		revisions = append(revisions, m.ResourceVersion)
	}
	return revisions
}

// query returns the parameters that are not empty.
func query(pairs ...string) string {
	q := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	return "?" + q.Encode()
}

func TestListRevisions(t *testing.T) {
	c := start(t)
	a := c.raw(t, "admin", "system:masters")
	at := a.create("a", "b", "c")
	later := strconv.Itoa(atoi(t, at[2]) + 1000)
	// No revision is the newest, which the server's own writes move on.
	for _, x := range []struct{ version, match, limit, names, revision string }{
		{"", "", "", "a b c", ""},
		{"0", "", "", "a b c", ""},
		{"0", "NotOlderThan", "", "a b c", ""},
		{at[0], "", "", "a b c", ""},
		{at[0], "NotOlderThan", "", "a b c", ""},
		{at[0], "Exact", "", "a", at[0]},
		{at[1], "Exact", "", "a b", at[1]},
		{at[1], "", "1", "a", at[1]}, // as it was before there was a match
		{at[1], "NotOlderThan", "1", "a", ""},
		{at[1], "Exact", "1", "a", at[1]},
		{"", "", "2", "a b", ""},
	} {
		l := a.list(mapsPath + query("resourceVersion", x.version, "resourceVersionMatch", x.match, "limit", x.limit))
		got := l.Metadata.ResourceVersion
		if l.names() != x.names || x.revision != "" && got != x.revision || atoi(t, got) < atoi(t, at[2]) && x.revision == "" || l.Kind != "ConfigMapList" || l.APIVersion != "v1" {
			t.Errorf("%+v: %+v %s", x, l.Metadata, l.names())
		}
	}
	for _, x := range []struct {
		query   []string
		code    int
		reason  metav1.StatusReason
		message string
	}{
		{[]string{"resourceVersionMatch", "Exact"}, 422, "Invalid",
			`ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided`},
		{[]string{"resourceVersionMatch", "Exact", "resourceVersion", "0"}, 422, "Invalid",
			`ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch "exact" is forbidden for resourceVersion "0"`},
		{[]string{"resourceVersionMatch", "Near", "resourceVersion", "1"}, 422, "Invalid",
			`ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Unsupported value: "Near": supported values: "Exact", "NotOlderThan", ""`},
		{[]string{"resourceVersionMatch", "Exact", "resourceVersion", "1", "continue", "x"}, 422, "Invalid",
			`ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden when continue is provided`},
		{[]string{"sendInitialEvents", "true"}, 422, "Invalid",
			`ListOptions.meta.k8s.io "" is invalid: sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list`},
		{[]string{"watch", "1", "sendInitialEvents", "true"}, 422, "Invalid",
			`ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan`},
		{[]string{"watch", "1", "resourceVersion", "1", "resourceVersionMatch", "NotOlderThan"}, 422, "Invalid",
			`ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided`},
		{[]string{"watch", "1", "sendInitialEvents", "true", "resourceVersionMatch", "Exact"}, 422, "Invalid",
			`ListOptions.meta.k8s.io "" is invalid: [resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan, resourceVersionMatch: Unsupported value: "Exact": supported values: "NotOlderThan"]`},
		{[]string{"resourceVersion", "x"}, 400, "BadRequest", `invalid resource version: resourceVersion: Invalid value: "x": strconv.ParseUint: parsing "x": invalid syntax`},
		{[]string{"resourceVersion", "-1"}, 400, "BadRequest", `invalid resource version: resourceVersion: Invalid value: "-1": strconv.ParseUint: parsing "-1": invalid syntax`},
		{[]string{"limit", "x"}, 400, "BadRequest", `strconv.ParseInt: parsing "x": invalid syntax`},
		{[]string{"continue", "x", "resourceVersion", "1"}, 400, "BadRequest", "invalid continue token: continue key is not valid: illegal base64 data at input byte 0"},
		{[]string{"continue", "eyJ2IjoibWV0YS5rOHMuaW8vdjEifQ"}, 400, "BadRequest", "invalid continue token: continue key is not valid: incorrect encoded start resourceVersion (version meta.k8s.io/v1)"},
		{[]string{"labelSelector", "a=b=c"}, 400, "BadRequest", `found '=', expected: ',' or 'end of string'`},
		{[]string{"labelSelector", "a in b"}, 400, "BadRequest", `unable to parse requirement: found 'b' expected: '('`},
		{[]string{"fieldSelector", "a"}, 400, "BadRequest", `invalid selector: 'a'; can't understand 'a'`},
		{[]string{"fieldSelector", "data.k=a"}, 400, "BadRequest", `"data.k" is not a known field selector: only "metadata.name", "metadata.namespace"`},
	} {
		res, body := a.do("GET", mapsPath+query(x.query...), "")
		a.status(res, body, x.code, x.reason, x.message)
	}
	// What is not reached yet: the client is to come again.
	type answer struct {
		res  *http.Response
		body string
	}
	answers := make(chan answer)
	for _, path := range []string{mapsPath, mapsPath + "/a"} {
		go func() {
			res, body := a.do("GET", path+query("resourceVersion", later), "")
			answers <- answer{res, body}
		}()
	}
	for range 2 {
		x := <-answers
		res, body := x.res, x.body
		var s metav1.Status
		if err := json.Unmarshal([]byte(body), &s); err != nil || res.StatusCode != 504 || s.Reason != "Timeout" ||
			!strings.HasPrefix(s.Message, "Timeout: Too large resource version: "+later+", current: ") {
			t.Error(body)
		}
		if res.Header.Get("Retry-After") != "1" || s.Details == nil || s.Details.RetryAfterSeconds != 1 ||
			len(s.Details.Causes) != 1 || s.Details.Causes[0].Type != metav1.CauseTypeResourceVersionTooLarge {
			t.Error(body)
		}
	}
	// What is forgotten.
	if err := c.store.Compact(t.Context(), int64(atoi(t, at[2]))); err != nil {
		t.Fatal(err)
	}
	res, body := a.do("GET", mapsPath+query("resourceVersion", at[0], "resourceVersionMatch", "Exact"), "")
	a.status(res, body, 410, "Expired", "The resourceVersion for the provided list is too old.")
}

func atoi(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestSelectors(t *testing.T) {
	c := start(t)
	a := c.raw(t, "admin", "system:masters")
	a.create("a", "b", "c", "d")
	for _, x := range []struct{ label, field, want string }{
		{"n=a", "", "a"},
		{"n==a", "", "a"},
		{"n!=a", "", "b c d"},
		{"n in (a, c)", "", "a c"},
		{"n notin (a, c)", "", "b d"},
		{"n", "", "a b c d"},
		{"!n", "", ""},
		{"even=true,n in (a,b)", "", "a"},
		{"n=a,n=b", "", ""},
		{"", "metadata.name=b", "b"},
		{"", "metadata.name!=b", "a c d"},
		{"", "metadata.name=b,metadata.namespace=default", "b"},
		{"", "metadata.name=b,metadata.name=c", ""},
		{"", "metadata.namespace=other", ""},
		{"even=false", "metadata.name!=b", "d"},
		{"even=true", "metadata.name=b", ""},
	} {
		q := query("labelSelector", x.label, "fieldSelector", x.field)
		for _, path := range []string{mapsPath, "/api/v1/configmaps"} {
			if got := a.list(path + q).names(); got != x.want {
				t.Errorf("%s %s: %s", path, q, got)
			}
		}
		// In pages of one, and counted only where nothing is selected.
		var names []string
		for next := ""; ; {
			l := a.list(mapsPath + query("labelSelector", x.label, "fieldSelector", x.field, "limit", "1", "continue", next))
			if n := l.names(); n != "" {
				names = append(names, n)
			}
			if l.Metadata.RemainingItemCount != nil {
				t.Errorf("%s: the rest of a selection is counted", q)
			}
			if next = l.Metadata.Continue; next == "" {
				break
			}
		}
		if got := strings.Join(names, " "); got != x.want {
			t.Errorf("in pages, %s: %s", q, got)
		}
	}
	// A collection is deleted as it is listed.
	if res, body := a.do("DELETE", mapsPath+query("labelSelector", "n in (a,b)", "fieldSelector", "metadata.name!=a"), ""); res.StatusCode != 200 {
		t.Error(body)
	}
	if got := a.list(mapsPath).names(); got != "a c d" {
		t.Error(got)
	}
	res, body := a.do("DELETE", mapsPath+query("fieldSelector", "data.k=a"), "")
	a.status(res, body, 400, "BadRequest", `"data.k" is not a known field selector: only "metadata.name", "metadata.namespace"`)
}

// TestFieldsOfKinds: what upstream selects by, and the text for what it does not.
func TestFieldsOfKinds(t *testing.T) {
	c := start(t)
	a := c.raw(t, "admin", "system:masters")
	for path, names := range map[string]string{
		"/api/v1/pods":                   "spec.nodeName spec.restartPolicy spec.schedulerName spec.serviceAccountName spec.hostNetwork status.phase status.podIP status.podIPs status.nominatedNodeName",
		"/api/v1/nodes":                  "spec.unschedulable",
		"/api/v1/namespaces":             "status.phase",
		"/api/v1/secrets":                "type",
		"/api/v1/services":               "spec.clusterIP spec.type",
		"/api/v1/replicationcontrollers": "status.replicas",
		"/api/v1/events":                 "involvedObject.kind involvedObject.namespace involvedObject.name involvedObject.uid involvedObject.apiVersion involvedObject.resourceVersion involvedObject.fieldPath reason reportingComponent source type",
		"/apis/batch/v1/jobs":            "status.successful",
		"/apis/certificates.k8s.io/v1/certificatesigningrequests": "spec.signerName",
		"/apis/resource.k8s.io/v1/resourceslices":                 "spec.driver spec.nodeName",
	} {
		all := append(strings.Fields(names), "metadata.name")
		for _, name := range all {
			if res, body := a.do("GET", path+query("fieldSelector", name+"=x"), ""); res.StatusCode != 200 {
				t.Errorf("%s by %s: %s", path, name, body)
			}
			if res, body := a.do("GET", path+query("fieldSelector", name+"!=x"), ""); res.StatusCode != 200 {
				t.Errorf("%s by %s: %s", path, name, body)
			}
		}
		res, body := a.do("GET", path+query("fieldSelector", "spec.none=x"), "")
		text := map[string]string{
			"/apis/batch/v1/jobs":                     `field label "spec.none" not supported for Job`,
			"/apis/resource.k8s.io/v1/resourceslices": "field label not supported for resource.k8s.io/v1, Kind=ResourceSlice: spec.none",
		}[path]
		a.status(res, body, 400, "BadRequest", cmp.Or(text, "field label not supported: spec.none"))
	}
}

// TestShapes: an answer in every form that a get, a list and a watch can have.
func TestShapes(t *testing.T) {
	c := start(t, func(c *apiserver.Config) { c.Tabler = table.New(clock.RealClock{}) })
	a := c.raw(t, "admin", "system:masters")
	a.create("a", "b")
	const asTable = "application/json;as=Table;v=v1;g=meta.k8s.io"
	for _, x := range []struct{ include, object string }{
		{"", "PartialObjectMetadata"}, {"Metadata", "PartialObjectMetadata"}, {"Object", "ConfigMap"}, {"None", ""},
	} {
		for _, path := range []string{mapsPath, mapsPath + "/a"} {
			_, body := a.do("GET", path+query("includeObject", x.include), "", "Accept", asTable)
			var tab struct {
				Rows []struct {
					Object *struct {
						Kind     string
						Metadata struct{ Name string }
						Data     map[string]string
					}
				}
			}
			if err := json.Unmarshal([]byte(body), &tab); err != nil || len(tab.Rows) == 0 {
				t.Fatal(body)
			}
			switch o := tab.Rows[0].Object; {
			case x.object == "" && o != nil && o.Kind != "", x.object != "" && (o == nil || o.Kind != x.object || o.Metadata.Name != "a"):
				t.Errorf("%s includeObject=%q: %s", path, x.include, body)
			case x.object == "ConfigMap" && o.Data["k"] != "a":
				t.Error(body)
			}
		}
	}
	res, body := a.do("GET", mapsPath+query("includeObject", "Some"), "", "Accept", asTable)
	a.status(res, body, 400, "BadRequest", `unrecognized includeObject value: "Some"`)
	// A Table has no protobuf form, but the next choice may have one.
	res, body = a.do("GET", mapsPath, "", "Accept", strings.Replace(asTable, "json", "vnd.kubernetes.protobuf", 1))
	if res.StatusCode != 406 {
		t.Error(body)
	}
	res, _ = a.do("GET", mapsPath, "", "Accept", strings.Replace(asTable, "json", "vnd.kubernetes.protobuf", 1)+", application/vnd.kubernetes.protobuf")
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "application/vnd.kubernetes.protobuf" {
		t.Error(res)
	}
	for media, accept := range map[string]string{"json": "application/json", "protobuf": "application/vnd.kubernetes.protobuf"} {
		for _, as := range []string{"PartialObjectMetadata", "PartialObjectMetadataList"} {
			path := mapsPath
			if as == "PartialObjectMetadata" {
				path += "/a"
			}
			res, body := a.do("GET", path, "", "Accept", accept+";as="+as+";v=v1;g=meta.k8s.io")
			if res.StatusCode != 200 || res.Header.Get("Content-Type") != accept {
				t.Errorf("%s %s: %v", media, as, res)
			}
			if media == "protobuf" {
				if !strings.HasPrefix(body, "k8s\x00") || !strings.Contains(body, as) {
					t.Errorf("%s: %q", as, body)
				}
				continue
			}
			if !strings.Contains(body, `"kind":"`+as+`"`) || strings.Contains(body, `"data"`) {
				t.Error(body)
			}
		}
		res, body := a.do("GET", mapsPath, "", "Accept", accept+";as=PartialObjectMetadata;v=v1;g=meta.k8s.io")
		if res.StatusCode != 406 || !strings.Contains(body, "you requested PartialObjectMetadata, but the requested object is a list (*core.ConfigMapList)") {
			t.Errorf("%s of a list: %s", media, body)
		}
		res, body = a.do("GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles/none", "", "Accept", accept+";as=PartialObjectMetadataList;v=v1;g=meta.k8s.io")
		if res.StatusCode != 404 {
			t.Errorf("%s of nothing: %s", media, body)
		}
		res, body = a.do("GET", mapsPath+"/a", "", "Accept", accept+";as=PartialObjectMetadataList;v=v1;g=meta.k8s.io")
		if res.StatusCode != 406 || !strings.Contains(body, "you requested PartialObjectMetadataList, but the requested object is not a list (*core.ConfigMap)") {
			t.Errorf("%s of one object: %s", media, body)
		}
		_, body = a.do("GET", mapsPath+query("watch", "1", "timeoutSeconds", "1", "fieldSelector", "metadata.name=a"), "",
			"Accept", accept+";as=PartialObjectMetadata;v=v1;g=meta.k8s.io")
		if !strings.Contains(body, "PartialObjectMetadata") || !strings.Contains(body, "ADDED") || !strings.Contains(body, "even") || strings.Contains(body, `"data"`) {
			t.Errorf("%s: %q", media, body)
		}
	}
	// A bookmark is an object in the form of the others.
	for _, path := range []string{mapsPath, "/api/v1/pods"} {
		_, body := a.do("GET", path+query("watch", "1", "timeoutSeconds", "1", "sendInitialEvents", "true", "allowWatchBookmarks", "true", "resourceVersionMatch", "NotOlderThan"), "", "Accept", asTable)
		var ev struct {
			Type   string
			Object struct {
				Metadata metav1.ListMeta
				Rows     []struct{ Object metav1.PartialObjectMetadata }
			}
		}
		last := strings.TrimSpace(body[strings.LastIndex(strings.TrimSpace(body), "\n")+1:])
		if err := json.Unmarshal([]byte(last), &ev); err != nil {
			t.Fatal(body)
		}
		if len(ev.Object.Rows) != 1 || ev.Type != "BOOKMARK" || ev.Object.Rows[0].Object.Annotations[metav1.InitialEventsAnnotationKey] != "true" ||
			ev.Object.Rows[0].Object.Kind != "PartialObjectMetadata" || ev.Object.Metadata.ResourceVersion == "" {
			t.Errorf("%s: %s", path, last)
		}
	}
	// Such an object has nothing but metadata: a row of any kind can be made of it.
	for _, row := range c.table.Resources() {
		if row.IsStored() {
			if _, err := table.New(clock.RealClock{}).Table(row, []runtime.Object{row.Stored.New()}, metav1.TableOptions{}, true); err != nil {
				t.Errorf("%s: %v", row.Name, err)
			}
		}
	}
	// For human eyes.
	for _, path := range []string{mapsPath, mapsPath + "/a"} {
		for q, lines := range map[string]bool{"": false, "?pretty": true, "?pretty=true": true, "?pretty=1": true, "?pretty=0": false, "?pretty=false": false} {
			if _, body := a.do("GET", path+q, ""); (strings.Count(body, "\n") > 1) != lines {
				t.Errorf("%s%s: %s", path, q, body)
			}
		}
		if _, body := a.do("GET", path, "", "User-Agent", "curl/8"); strings.Count(body, "\n") < 3 {
			t.Errorf("for curl: %s", body)
		}
	}
}

// TestMethods: which are answered where.
func TestMethods(t *testing.T) {
	c := start(t)
	a := c.raw(t, "admin", "system:masters")
	a.create("a")
	const notAllowed = "the server does not allow this method on the requested resource"
	for _, x := range []struct{ method, path string }{
		{"PUT", mapsPath}, {"PATCH", mapsPath}, {"OPTIONS", mapsPath}, {"OPTIONS", mapsPath + "/a"},
		{"POST", mapsPath + "/a"}, {"TRACE", mapsPath}, {"DELETE", "/api/v1/namespaces"},
	} {
		res, body := a.do(x.method, x.path, "")
		a.status(res, body, 405, "MethodNotAllowed", notAllowed)
	}
	for _, path := range []string{mapsPath, mapsPath + "/a", mapsPath + "/none", "/version"} {
		if head, nothing := a.do("HEAD", path, ""); head.StatusCode != 405 || nothing != "" {
			t.Errorf("%s: %v %q", path, head, nothing)
		}
	}
	if head, nothing := a.do("HEAD", "/healthz", ""); head.StatusCode != 200 || nothing != "" {
		t.Errorf("%v %q", head, nothing)
	}
}

// TestCompression: a long answer is compressed for who asks and is far away.
func TestCompression(t *testing.T) {
	c := start(t)
	a := c.raw(t, "admin", "system:masters")
	a.create("a")
	get := func(path, accept string) *httptest.ResponseRecorder {
		t.Helper()
		ctx := auth.WithUser(t.Context(), &user.DefaultInfo{Name: "admin", Groups: []string{user.SystemPrivilegedGroup}})
		r, err := http.NewRequestWithContext(ctx, "GET", path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.RemoteAddr = "192.0.2.9:1234"
		r.Header.Set("Accept-Encoding", accept)
		w := httptest.NewRecorder()
		c.server.Handler().ServeHTTP(w, r)
		return w
	}
	if w := get(mapsPath, "gzip"); w.Header().Get("Content-Encoding") != "" {
		t.Error("a short answer is compressed")
	}
	res, body := a.do("POST", mapsPath, fmt.Sprintf(`{"metadata":{"name":"long"},"data":{"k":%q}}`, strings.Repeat("0123456789", 30_000)), "Content-Type", "application/json")
	if res.StatusCode != 201 {
		t.Fatal(body)
	}
	for _, path := range []string{mapsPath, mapsPath + "/long"} {
		plain, zipped := get(path, ""), get(path, "deflate, gzip")
		if plain.Header().Get("Content-Encoding") != "" || zipped.Header().Get("Content-Encoding") != "gzip" || zipped.Header().Get("Vary") != "Accept-Encoding" {
			t.Errorf("%s: %v %v", path, plain.Header(), zipped.Header())
		}
		z, err := gzip.NewReader(zipped.Body)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(z); err != nil || string(b) != plain.Body.String() {
			t.Errorf("%s: %d bytes became %d: %v", path, plain.Body.Len(), len(b), err)
		}
	}
	// Within one machine copying is faster.
	if res, _ := a.do("GET", mapsPath, "", "Accept-Encoding", "gzip"); res.Header.Get("Content-Encoding") != "" {
		t.Error("an answer to this machine is compressed")
	}
}

// TestWatchEnds when it was told to, or in half an hour to an hour, with the
// revision that it reached as its last word.
func TestWatchEnds(t *testing.T) {
	clk := testclock.NewFakeClock(time.Now())
	c := start(t, func(c *apiserver.Config) { c.Clock = clk })
	a := c.raw(t, "admin", "system:masters")
	a.create("a")
	watching := func(pairs ...string) (*bufio.Scanner, func()) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), "GET", a.base+mapsPath+query(append(pairs, "watch", "1")...), nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := a.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(res.Body)
		// The timers run before the first event is sent.
		if !lines.Scan() || !strings.Contains(lines.Text(), "ADDED") {
			t.Fatal(lines.Text())
		}
		return lines, func() { res.Body.Close() }
	}
	short, done := watching("timeoutSeconds", "10", "allowWatchBookmarks", "true")
	defer done()
	mute, done := watching("timeoutSeconds", "10")
	defer done()
	long, done := watching()
	defer done()
	res, body := a.do("POST", "/api/v1/namespaces/default/secrets", `{"metadata":{"name":"s"}}`, "Content-Type", "application/json")
	var s metav1.PartialObjectMetadata
	if err := json.Unmarshal([]byte(body), &s); err != nil || res.StatusCode != 201 {
		t.Fatal(body)
	}
	clk.Step(10 * time.Second)
	var word struct {
		Type   string
		Object metav1.PartialObjectMetadata
	}
	if !short.Scan() {
		t.Fatal("a watch ended without a word")
	}
	if err := json.Unmarshal(short.Bytes(), &word); err != nil || word.Type != "BOOKMARK" || atoi(t, word.Object.ResourceVersion) < atoi(t, s.ResourceVersion) {
		t.Errorf("the last word is %s", short.Text())
	}
	for _, w := range []*bufio.Scanner{short, mute} {
		if w.Scan() {
			t.Errorf("and then %s", w.Text())
		}
	}
	clk.Step(29 * time.Minute)
	a.create("b")
	if !long.Scan() || !strings.Contains(long.Text(), `"b"`) {
		t.Errorf("after 29 minutes: %s", long.Text())
	}
	clk.Step(31 * time.Minute)
	if long.Scan() {
		t.Errorf("after an hour: %s", long.Text())
	}
}
