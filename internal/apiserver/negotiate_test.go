package apiserver

import (
	"net/http"
	"testing"

	"clipper/internal/scheme"
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
		pb + meta: {media: scheme.Protobuf, shape: partly},
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
