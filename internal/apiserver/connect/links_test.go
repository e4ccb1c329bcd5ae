package connect

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

const (
	testHost = "10.0.0.1:80"
	testBase = "/api/v1/namespaces/default/pods/back/proxy"
)

func TestBelow(t *testing.T) {
	for from, want := range map[string]string{
		"/x":                                   testBase + "/x",
		"/x/?a=b#c":                            testBase + "/x/?a=b#c",
		"/x%2Fy":                               testBase + "/x%2Fy",
		"http://10.0.0.1:80/x":                 testBase + "/x",
		"//10.0.0.1:80/x":                      testBase + "/x",
		testBase + "/x":                        testBase + "/x",
		"http://10.0.0.1:80" + testBase + "/x": testBase + "/x",
		"x":                                    "x",
		"../x":                                 "../x",
		"#top":                                 "#top",
		"http://elsewhere/x":                   "http://elsewhere/x",
		"mailto:a@b":                           "mailto:a@b",
		"data:text/plain,x":                    "data:text/plain,x",
	} {
		to, err := url.Parse(from)
		if err != nil {
			t.Fatal(err)
		}
		if got := below(to, testHost, testBase); got != want {
			t.Errorf("%s: %s, want %s", from, got, want)
		}
	}
}

// read returns a page as a client gets it.
func read(t testing.TB, page string, headers ...string) (string, *http.Response) {
	response := &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"text/html; charset=utf-8"}}, Body: io.NopCloser(strings.NewReader(page)), ContentLength: int64(len(page))}
	for i := 0; i < len(headers); i += 2 {
		response.Header.Set(headers[i], headers[i+1])
	}
	relink(response, testHost, testBase)
	b, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b), response
}

func TestRelink(t *testing.T) {
	for from, want := range map[string]string{
		`<a href="/x">test</a>`:                        `<a href="` + testBase + `/x">test</a>`,
		`<A CLASS=b HREF=/x?a=1&amp;b=2>t</A>`:         `<a class="b" href="` + testBase + `/x?a=1&amp;b=2">t</A>`,
		`<img src='/i.png' alt='x'/>`:                  `<img src="` + testBase + `/i.png" alt="x"/>`,
		`<p title="/x" CLASS=b >a &amp; b</p>`:         `<p title="/x" CLASS=b >a &amp; b</p>`,
		`<script>var a = "<a href='/x'>"</script>`:     `<script>var a = "<a href='/x'>"</script>`,
		`<!DOCTYPE html><!-- <a href="/x"> --><b>`:     `<!DOCTYPE html><!-- <a href="/x"> --><b>`,
		`<a href="%zz">`:                               `<a href="%zz">`,
		`text that ends in <a hre`:                     `text that ends in <a hre`,
		`<script src=/x>` + strings.Repeat("y", 3<<20): `<script src="` + testBase + `/x">` + strings.Repeat("y", 3<<20),
	} {
		got, response := read(t, from)
		if got != want {
			t.Errorf("%.100s\n\tis %.200s\n\twant %.200s", from, got, want)
		}
		if response.ContentLength != -1 {
			t.Error("the length is the old one")
		}
	}
	const page = `<a href="/x">`
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	io.WriteString(zip, page)
	zip.Close()
	if got, response := read(t, packed.String(), "Content-Encoding", "gzip"); got != `<a href="`+testBase+`/x">` || response.Header.Get("Content-Encoding") != "" {
		t.Error(got)
	}
	for _, h := range [][]string{{"Content-Encoding", "br"}, {"Content-Type", "text/plain"}, {"Content-Type", ";"}} {
		if got, response := read(t, page, h...); got != page || response.ContentLength < 0 {
			t.Errorf("%s: %s", h, got)
		}
	}
}

// A page without links to the backend comes through byte by byte, well formed
// or not.
func TestRelinkKeeps(t *testing.T) {
	parts := rapid.SampledFrom([]string{"<a href=x>", "<a", " href='", "\"", ">", "<!--", "-->", "<script>", "</script>", "</", "<textarea>", "&amp;", "text", "\x00", "é", "<p/>", "<?x", "\n"})
	rapid.Check(t, func(t *rapid.T) {
		page := strings.Join(rapid.SliceOf(parts).Draw(t, "page"), "")
		b, err := io.ReadAll(newLinks(strings.NewReader(page), io.NopCloser(nil), testHost, testBase))
		if err != nil || string(b) != page {
			t.Fatalf("%q became %q, %v", page, b, err)
		}
	})
}
