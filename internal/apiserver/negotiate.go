package apiserver

import (
	"cmp"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"clipper/internal/scheme"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// shape is what of an object the client wants to see.
type shape uint8

const (
	whole      shape = iota
	table            // as kubectl prints it
	partly           // its metadata
	partlyList       // the metadata of each in a list
)

// form is how an answer is written.
type form struct {
	set    bool
	media  scheme.MediaType
	shape  shape
	beta   bool // the shape in meta.k8s.io/v1beta1
	pretty bool
}

// What an answer can be shaped as.
type shapes uint8

const (
	plain      shapes = 0      // as it is only
	metadata   shapes = 1 << 0 // its metadata
	tables     shapes = 1 << 1 // a table
	streams    shapes = 1 << 2 // a watch: no YAML
	collection shapes = 1 << 3 // a list, which could be watched

	shaped = metadata | tables
)

const (
	mediaTypes  = "application/json, application/yaml, application/vnd.kubernetes.protobuf"
	streamTypes = "application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch"
)

// negotiate reads the Accept header: the clause that is wanted most of those
// that can be had.
func negotiate(h http.Header, can shapes) (form, error) {
	accept := h["Accept"]
	switch {
	case len(accept) == 0:
		return form{set: true}, nil
	case len(accept) == 1:
		switch accept[0] {
		case "application/json", "*/*", "":
			return form{set: true}, nil
		case "application/vnd.kubernetes.protobuf", "application/vnd.kubernetes.protobuf,application/json":
			return form{set: true, media: scheme.Protobuf}, nil
		}
	}
	type clause struct {
		form
		q        float64
		any, all bool // of all types; of all types of a family, or at all
	}
	var can1 []clause
	for _, line := range accept {
		for _, part := range strings.Split(line, ",") {
			c := clause{form: form{set: true}, q: 1}
			t, params, err := mime.ParseMediaType(part)
			if err != nil {
				continue
			}
			switch t {
			case "application/json":
			case "application/*":
				c.all = true
			case "*/*":
				c.any, c.all = true, true
			case "application/yaml":
				c.media = scheme.YAML
			case "application/vnd.kubernetes.protobuf":
				c.media = scheme.Protobuf
			default:
				continue
			}
			if v, ok := params["q"]; ok {
				if c.q, err = strconv.ParseFloat(v, 64); err != nil || c.q <= 0 {
					continue
				}
			}
			as, version := params["as"], params["v"]
			if group := params["g"]; as+version+group != "" {
				if can&shaped == 0 || group != metav1.GroupName {
					continue
				}
				switch version {
				case "v1":
				case "v1beta1":
					c.beta = true
				default:
					continue
				}
				switch as {
				case "Table":
					c.shape = table
					if can&tables == 0 || c.media == scheme.Protobuf {
						continue // a Table has no protobuf form
					}
				case "PartialObjectMetadata":
					c.shape = partly
				case "PartialObjectMetadataList":
					c.shape = partlyList
				default:
					continue
				}
			}
			can1 = append(can1, c)
		}
	}
	if len(can1) == 0 {
		return form{}, onlyAccepted(mediaTypes)
	}
	// Upstream sorts them so: what is named comes before what is not, though it
	// may be wanted less, if that is how they come to be compared.
	before := func(a, b clause) bool { return a.q > b.q || b.any && !a.any || b.all && !a.all }
	for i := range can1 {
		for j := i; j > 0 && before(can1[j], can1[j-1]); j-- {
			can1[j], can1[j-1] = can1[j-1], can1[j]
		}
	}
	best := can1[0]
	if can&streams != 0 && best.media == scheme.YAML {
		return best.form, onlyAccepted(streamTypes) // there is no stream of it
	}
	return best.form, nil
}

// named tells whether an Accept header names a type that a resource's paths
// have, or just any. They are looked for by name there: "application/*" finds none.
func named(accept []string) bool {
	for _, line := range accept {
		for part := range strings.SplitSeq(line, ",") {
			t, _, _ := strings.Cut(part, ";")
			switch strings.TrimSpace(t) {
			case "*/*", "", "application/json", "application/yaml", "application/vnd.kubernetes.protobuf":
				return true
			}
		}
	}
	return len(accept) == 0
}

// notAcceptable is the answer to who wants none of what a path has.
func notAcceptable(can shapes) error {
	all := mediaTypes
	if can&collection != 0 {
		all += ", " + streamTypes
	}
	return unacceptable("406: Not Acceptable\n\nAvailable representations: " + all)
}

func onlyAccepted(types string) error {
	return unacceptable("only the following media types are accepted: " + types)
}

func unacceptable(text string) error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusNotAcceptable, Reason: metav1.StatusReasonNotAcceptable, Message: text,
	}}
}

// notSuch is the error for a form that what was asked for cannot have. It names
// the type that upstream has of it.
func notSuch(row *scheme.Resource, asked, is, list string) error {
	of, _, _ := strings.Cut(cmp.Or(row.Stored.Group, "core"), ".")
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusNotAcceptable, Reason: metav1.StatusReasonNotAcceptable,
		Message: fmt.Sprintf("you requested %s, but the requested object is %s (*%s.%s%s)", asked, is, of, row.Kind, list),
	}}
}

// bodyType reads the Content-Type header of a request that carries an object.
func bodyType(h http.Header) (scheme.MediaType, error) {
	v := h.Get("Content-Type")
	switch v {
	case "", "application/json":
		return scheme.JSON, nil
	case "application/vnd.kubernetes.protobuf":
		return scheme.Protobuf, nil
	}
	t, _, err := mime.ParseMediaType(v)
	if err == nil {
		switch t {
		case "application/json":
			return scheme.JSON, nil
		case "application/yaml":
			return scheme.YAML, nil
		case "application/vnd.kubernetes.protobuf":
			return scheme.Protobuf, nil
		}
	}
	return 0, unsupportedMedia(mediaTypes)
}

func unsupportedMedia(accepted string) error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusUnsupportedMediaType, Reason: metav1.StatusReasonUnsupportedMediaType,
		Message: "the body of the request was in an unknown format - accepted media types include: " + accepted,
	}}
}

// shapes is what the objects of the request's path can be shown as.
func (q *request) shapes() shapes {
	if q.subresource != "" {
		if sub := q.kind.row.Subresource(q.subresource); sub != nil && sub.NoTable {
			return metadata
		}
	}
	return shaped
}

// negotiate settles the form of the answer before anything is done. What is
// turned away before was never handled, and is not counted.
func (q *request) negotiate(can shapes) error {
	if !named(q.r.Header["Accept"]) {
		return notAcceptable(can)
	}
	q.handled = true
	if q.kind.deprecated != "" {
		q.warn([]string{q.kind.deprecated})
	}
	f, err := negotiate(q.r.Header, can)
	if err != nil {
		q.form = f
		return err
	}
	if q.query != nil || f.media == scheme.JSON {
		f.pretty = q.pretty()
	}
	q.form = f
	return nil
}

// pretty tells whether JSON is for human eyes: when asked for, or when a
// command-line or web browser asks.
func (q *request) pretty() bool {
	if v, ok := q.query["pretty"]; ok {
		return len(v) == 0 || v[0] == "" || isTrue(v[0])
	}
	agent := q.r.Header.Get("User-Agent")
	return strings.HasPrefix(agent, "curl") || strings.HasPrefix(agent, "Wget") || strings.HasPrefix(agent, "Mozilla/5.0")
}
