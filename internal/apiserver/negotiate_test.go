package apiserver

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"clipper/internal/scheme"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/endpoints/handlers/negotiation"
)

func TestNegotiate(t *testing.T) {
	const (
		pb   = "application/vnd.kubernetes.protobuf"
		tab  = "application/json;as=Table;v=v1;g=meta.k8s.io"
		meta = ";as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
	)
	for accept, want := range map[string]form{
		"":                              {media: scheme.JSON},
		"*/*":                           {media: scheme.JSON},
		"application/json":              {media: scheme.JSON},
		"application/*, text/html":      {media: scheme.JSON},
		"application/yaml":              {media: scheme.YAML},
		pb:                              {media: scheme.Protobuf},
		pb + ", */*":                    {media: scheme.Protobuf},
		pb + ";q=0.5, application/json": {media: scheme.JSON},
		"application/json;q=0.1, " + pb: {media: scheme.Protobuf},
		tab:                             {shape: table},
		tab + ",application/json":       {shape: table},
		pb + ";as=Table;g=meta.k8s.io;v=v1,application/json": {media: scheme.JSON},
		"application/json;as=Table;g=meta.k8s.io;v=v1beta1":  {shape: table, beta: true},
		"application/json;as=Table;g=other;v=v1," + pb:       {media: scheme.Protobuf},
		pb + meta: {media: scheme.Protobuf, shape: partlyList},
	} {
		h := http.Header{}
		if accept != "" {
			h.Set("Accept", accept)
		}
		want.set = true
		if got, err := negotiate(h, shaped); err != nil || got != want {
			t.Errorf("%q: %+v %v, want %+v", accept, got, err, want)
		}
	}
	for accept, can := range map[string]shapes{
		"text/html": shaped, "application/yaml": streams, tab: plain, pb + ";as=Table;g=meta.k8s.io;v=v1": shaped, "application/json;q=0": shaped,
	} {
		if got, err := negotiate(http.Header{"Accept": {accept}}, can); err == nil {
			t.Errorf("%q: %+v", accept, got)
		}
	}
}

func FuzzToken(f *testing.F) {
	f.Add(token{Revision: 5, Start: "a/b"}.String())
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		tok, err := parseToken(s)
		if err != nil {
			return
		}
		if again, err := parseToken(tok.String()); err != nil || again != tok {
			t.Errorf("%q: %+v, then %+v %v", s, tok, again, err)
		}
	})
}

// upstreams is what upstream's resources answer as: the restrictions that its
// documentation of Table and PartialObjectMetadata names.
type upstreams struct {
	negotiation.EndpointRestrictions
}

func (upstreams) AllowsMediaTypeTransform(_, subtype string, as *schema.GroupVersionKind) bool {
	if as == nil {
		return true
	}
	if as.Group != metav1.GroupName || as.Version != "v1" && as.Version != "v1beta1" {
		return false
	}
	switch as.Kind {
	case "Table":
		return subtype == "json" || subtype == "yaml"
	case "PartialObjectMetadata", "PartialObjectMetadataList":
		return true
	}
	return false
}

// Whatever a client accepts, it is answered as upstream would answer, or not at
// all.
func FuzzNegotiate(f *testing.F) {
	var served []runtime.SerializerInfo
	for _, subtype := range []string{"json", "yaml", "vnd.kubernetes.protobuf"} {
		served = append(served, runtime.SerializerInfo{MediaType: "application/" + subtype, MediaTypeType: "application", MediaTypeSubType: subtype})
	}
	media := map[string]scheme.MediaType{"application/json": scheme.JSON, "application/yaml": scheme.YAML, "application/vnd.kubernetes.protobuf": scheme.Protobuf}
	for _, s := range []string{
		"", "*/*", "application/*;q=0.5, application/yaml", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
		"application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1, application/json;q=0.9",
		"application/json;as=Table;g=meta.k8s.io;v=v1beta1, application/json;as=Table;g=meta.k8s.io;v=v1", "*/*, application/yaml", "text/html, */*;q=0.1",
		"application/json;as=Table;g=;v=v1,application/yaml;stream=watch", `application/json;as="Table";g=meta.k8s.io;v=v1`, "application/json;q=x", ",;,application/json ; q = 1",
		"application/json;v=v1", "application/*;as=Table;g=meta.k8s.io;v=v1", "Application/JSON", "*", "application/json;q=0, */*;q=0",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, accept string) {
		got, err := negotiate(http.Header{"Accept": {accept}}, shaped)
		for _, can := range []shapes{plain, streams, shaped | streams} {
			if form, err := negotiate(http.Header{"Accept": {accept}}, can); err == nil {
				if can&shaped == 0 && form.shape != whole || can&streams != 0 && form.media == scheme.YAML {
					t.Errorf("%q: %+v is not to be had", accept, form)
				}
			}
		}
		if !wellFormed(accept) {
			return
		}
		o, ok := negotiation.NegotiateMediaTypeOptions(accept, served, upstreams{negotiation.DefaultEndpointRestrictions})
		if ok != (err == nil) {
			t.Fatalf("%q: %v, want %v", accept, err, ok)
		}
		if !ok {
			return
		}
		want := form{set: true, media: media[o.Accepted.MediaType]}
		if c := o.Convert; c != nil {
			want.beta = c.Version == "v1beta1"
			want.shape = map[string]shape{"Table": table, "PartialObjectMetadata": partly, "PartialObjectMetadataList": partlyList}[c.Kind]
		}
		if got != want {
			t.Errorf("%q: %+v, want %+v", accept, got, want)
		}
	})
}

// wellFormed tells whether a header is one that a client means: its clauses are
// media types with parameters, and no more than there is a use for. Of others
// each server makes its own.
func wellFormed(accept string) bool {
	if accept == "" {
		return true
	}
	parts := strings.Split(accept, ",")
	for _, part := range parts {
		if strings.TrimLeft(part, " ") != part || !clauses.MatchString(part) {
			return false
		}
	}
	return len(parts) < 10
}

var clauses = regexp.MustCompile(`^(\*/\*|[a-z]+/(\*|[a-z.]+))(;(as|g|v|stream)=[a-zA-Z0-9.]+)*(;q=(1|0\.[1-9]))?$`)
