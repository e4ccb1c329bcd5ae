package discovery

import (
	"mime"
	"net/http"
	"strconv"
	"strings"

	apidiscoveryv2 "k8s.io/api/apidiscovery/v2"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"clipper/internal/scheme"
)

// aggregatedKind is the one kind of apidiscovery.k8s.io that is served.
const aggregatedKind = "APIGroupDiscoveryList"

// form is how a document is written. version is that of the aggregated form,
// and empty for the plain one.
type form struct {
	media   scheme.MediaType
	version string
}

func (f form) aggregated() bool { return f.version != "" }

func (f form) groupVersionKind() schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: apidiscoveryv2.GroupName, Version: f.version, Kind: aggregatedKind}
}

func (f form) contentType() string {
	if !f.aggregated() {
		return f.media.String()
	}
	return f.media.String() + ";g=" + apidiscoveryv2.GroupName + ";v=" + f.version + ";as=" + aggregatedKind
}

// negotiate picks the clause of Accept that is wanted most among those that
// can be had; of equal ones the first. root tells whether the aggregated form
// can.
func negotiate(h http.Header, root bool) (form, bool) {
	accept := strings.Join(h.Values("Accept"), ",")
	if strings.TrimSpace(accept) == "" {
		return form{}, true
	}
	best, most, found := form{}, 0.0, false
	for _, clause := range strings.Split(accept, ",") {
		media, params, err := mime.ParseMediaType(clause)
		if err != nil {
			continue
		}
		f, ok := offer(media, params, root)
		if !ok {
			continue
		}
		q := 1.0
		if s, given := params["q"]; given {
			if q, err = strconv.ParseFloat(s, 64); err != nil {
				continue
			}
		}
		if q > most {
			best, most, found = f, q, true
		}
	}
	return best, found
}

func offer(media string, params map[string]string, root bool) (form, bool) {
	var f form
	switch media {
	case "application/json", "application/*", "*/*":
	case "application/yaml":
		f.media = scheme.YAML
	case "application/vnd.kubernetes.protobuf":
		f.media = scheme.Protobuf
	default:
		return f, false
	}
	as, given := params["as"]
	if !given {
		return f, true
	}
	f.version = params["v"]
	return f, root && as == aggregatedKind && params["g"] == apidiscoveryv2.GroupName && (f.version == "v2" || f.version == "v2beta1")
}
