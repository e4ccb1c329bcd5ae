package apiserver_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"

	"clipper/internal/auth"
	"clipper/internal/scheme"
	"clipper/internal/store"
)

// pageClient asks for pods, without a socket.
type pageClient struct {
	*cluster
	t   *testing.T
	ctx context.Context
	// namespace, if not empty, is the one that is asked for.
	namespace, labels, fields string
}

// podPage is a list of pods, or why there is none.
type podPage struct {
	metav1.TypeMeta
	metav1.ListMeta `json:"metadata"`
	Items           []metav1.PartialObjectMetadata
	Message         string
	Code            int
}

// words are the list's objects on a line each.
func (p podPage) words() (words []string) {
	for _, i := range p.Items {
		words = append(words, podWord(i.Namespace, i.Name, i.ResourceVersion))
	}
	return words
}

func podWord(namespace, name, revision string) string {
	return namespace + "/" + name + " " + revision
}

// list asks for one page; pairs are more parameters.
func (c *pageClient) list(pairs ...string) (p podPage) {
	c.t.Helper()
	path := "/api/v1/pods"
	if c.namespace != "" {
		path = "/api/v1/namespaces/" + c.namespace + "/pods"
	}
	path += query(append(pairs, "labelSelector", c.labels, "fieldSelector", c.fields)...)
	r, err := http.NewRequestWithContext(c.ctx, "GET", "https://server"+path, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	r.RequestURI, r.RemoteAddr = path, "192.0.2.9:1"
	w := httptest.NewRecorder()
	c.server.Handler().ServeHTTP(w, r)
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
		c.t.Fatalf("%s: %d %s", path, w.Code, w.Body)
	}
	if w.Code == http.StatusOK && p.Kind != "PodList" || w.Code != http.StatusOK && (p.Kind != "Status" || p.Code != w.Code) {
		c.t.Fatalf("%s: %d %s", path, w.Code, w.Body)
	}
	p.Code = w.Code
	return p
}

// A list in pages is the list that was, whatever is written while they are
// turned; and a token that nobody was given is refused, or shows what its bearer
// may list anyway.
func FuzzPages(f *testing.F) {
	for i, fields := range []string{"", "spec.nodeName=n", "spec.nodeName!=n", "metadata.name!=a", "metadata.namespace=a-b", "spec.nodeName=,metadata.name=ab"} {
		for j, labels := range []string{"", "l", "l in (a),!m"} {
			f.Add(byte(i+j), byte(1+(i+j)%5), labels, fields, []byte{
				0, 1, 1, 5, 2, 9, 3, 13, 4, 2, 5, 6, 6, 10, 7, 14, 8, 1, 9, 5, 10, 9, 11, 13, 12, 0, 13, 4, 14, 8, 15, 12,
				byte(i), 0xff, 9, byte(17 * j), 3, 0xff, 3, 1, byte(5 * i), 2, 14, 0xff,
			}, []string{"b/x", "a/a\x00", "", "a-b/../a/x", "\xff", `{"v":"meta.k8s.io/v1","rv":1,"start":"a"}`}[i], int64(j-1)*int64(i))
		}
	}
	server := start(f)
	admin := auth.WithUser(f.Context(), &user.DefaultInfo{Name: "admin", Groups: []string{user.SystemPrivilegedGroup}})
	row := server.table.ByPath("", "v1", "pods")
	runs := 0
	f.Fuzz(func(t *testing.T, scope, limit byte, labels, fields string, changes []byte, forged string, revision int64) {
		if len(changes) > 200 {
			return
		}
		namespaces, names := []string{"a", "a-b", "ab", "b"}, []string{"a", "a-b", "ab", "x"}
		c := &pageClient{cluster: server, t: t, ctx: admin, labels: labels, fields: fields, namespace: append(namespaces, "")[scope%5]}
		if c.list("limit", "1").Code != http.StatusOK { // no selectors
			return
		}
		at := map[string]int64{}
		change := func(b []byte) {
			for ; len(b) >= 2; b = b[2:] {
				p := &corev1.Pod{
					TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
					ObjectMeta: metav1.ObjectMeta{
						Namespace: namespaces[b[0]&3], Name: names[b[0]>>2&3],
						Labels: []map[string]string{nil, {"l": ""}, {"l": "a"}, {"l": "a", "m": "5"}}[b[1]&3],
					},
					Spec: corev1.PodSpec{NodeName: []string{"", "n", "m", "n"}[b[1]>>2&3]},
				}
				w := store.Write{Key: row.Key(p.Namespace, p.Name)}
				if w.Expect = at[w.Key]; b[1] < 0xf0 {
					var err error
					if w.Value, err = scheme.EncodeStored(p); err != nil {
						t.Fatal(err)
					}
				} else if w.Expect == 0 {
					continue
				}
				revision, err := server.store.Apply(context.Background(), w)
				if err != nil {
					t.Fatal(err)
				}
				if at[w.Key] = revision; w.Value == nil {
					delete(at, w.Key)
				}
			}
		}
		defer func() { // leave nothing
			for key, revision := range at {
				if _, err := server.store.Apply(context.Background(), store.Write{Key: key, Expect: revision}); err != nil {
					t.Error(err)
				}
			}
			if runs++; runs%500 == 0 {
				if err := server.store.Compact(context.Background(), server.store.Revision()); err != nil {
					t.Error(err)
				}
			}
		}()
		half := len(changes) / 4 * 2
		change(changes[:half])
		want := c.list().words()
		size := int(limit%6) + 1

		// All pages, with changes between them.
		var (
			got   []string
			first podPage
			last  string // token
		)
		for turn, next := 0, ""; ; turn++ {
			p := c.list("limit", strconv.Itoa(size), "continue", next)
			if p.Code != http.StatusOK {
				t.Fatalf("page %d: %d %s", turn, p.Code, p.Message)
			}
			if turn == 0 {
				first = p
			}
			if p.ResourceVersion != first.ResourceVersion {
				t.Errorf("page %d is of revision %s, the first of %s", turn, p.ResourceVersion, first.ResourceVersion)
			}
			got = append(got, p.words()...)
			if p.Continue != "" && len(p.Items) != size || len(p.Items) > size {
				t.Errorf("page %d has %d objects, of %d", turn, len(p.Items), size)
			}
			if n := p.RemainingItemCount; n != nil && *n != int64(len(want)-len(got)) {
				t.Errorf("after %d of %d objects %d remain", len(got), len(want), *n)
			}
			if whole := labels == "" && fields == ""; whole && (p.RemainingItemCount == nil) != (p.Continue == "") {
				t.Errorf("page %d: %+v", turn, p.ListMeta)
			}
			if next = p.Continue; next == "" {
				break
			}
			last = next
			if from := half + 2*turn; from+2 <= len(changes) {
				change(changes[from : from+2])
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("in pages of %d: got  %q\nwant %q", size, got, want)
		}
		past := c.list("resourceVersion", first.ResourceVersion, "resourceVersionMatch", "Exact")
		if got := past.words(); past.Code != http.StatusOK || !slices.Equal(got, want) {
			t.Errorf("at %s, %d: got  %q\nwant %q", first.ResourceVersion, past.Code, got, want)
		}

		// What nobody was given.
		at0, err := strconv.ParseInt(first.ResourceVersion, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		made := func(revision int64) string {
			b, err := json.Marshal(map[string]any{"v": "meta.k8s.io/v1", "rv": revision, "start": forged})
			if err != nil {
				t.Fatal(err)
			}
			return base64.RawURLEncoding.EncodeToString(b)
		}
		ctx, cancel := context.WithTimeout(admin, 20*time.Millisecond) // for a revision that is yet to come
		defer cancel()
		c.ctx = ctx
		for what, token := range map[string]string{
			"as it is": forged, "encoded": base64.RawURLEncoding.EncodeToString([]byte(forged)), "cut": last[:len(last)/2],
			"lengthened": last + forged, "of the list's revision": made(at0), "of the newest": made(-1), "of some revision": made(revision),
		} {
			if token == "" {
				continue
			}
			p := c.list("continue", token)
			switch p.Code {
			case http.StatusBadRequest, http.StatusGone, http.StatusGatewayTimeout:
				continue
			case http.StatusOK:
			default:
				t.Fatalf("a token %s (%q): %d %s", what, token, p.Code, p.Message)
			}
			for i, o := range p.Items {
				key := o.Namespace + "/" + o.Name
				if c.namespace != "" && o.Namespace != c.namespace {
					t.Errorf("a token %s (%q) shows %s in namespace %s", what, token, key, c.namespace)
				}
				if i > 0 && p.Items[i-1].Namespace+"/"+p.Items[i-1].Name >= key {
					t.Errorf("a token %s (%q) shows %q", what, token, p.words())
				}
			}
			if what == "of the list's revision" {
				rest := slices.DeleteFunc(slices.Clone(want), func(w string) bool {
					key, _, _ := strings.Cut(w, " ")
					return key < forged
				})
				if got := p.words(); !slices.Equal(got, rest) {
					t.Errorf("from %q on: got  %q\nwant %q", forged, got, rest)
				}
			}
		}
	})
}
