package apiserver

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"clipper/internal/apiserver/cache"
	"clipper/internal/scheme"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1beta1 "k8s.io/apimachinery/pkg/apis/meta/v1beta1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"
)

func (q *request) get() error {
	if err := q.negotiate(q.shapes()); err != nil {
		return err
	}
	fresh := true
	if v := q.query.Get("resourceVersion"); v != "" {
		n, err := revision(v)
		if err != nil {
			return err
		}
		if fresh = n > 0; fresh {
			if err := q.kind.cache.WaitFor(q.ctx, n); err != nil {
				return err
			}
		}
	}
	if fresh {
		if err := q.kind.cache.WaitFresh(q.ctx); err != nil {
			return err
		}
	}
	e := q.kind.cache.Get(cache.Key(q.scope(), q.name))
	if e == nil {
		return apierrors.NewNotFound(q.kind.row.GroupResource(), q.name)
	}
	return q.entry(http.StatusOK, e)
}

// scope is the namespace of the objects asked for.
func (q *request) scope() string {
	if q.kind.row.Namespaced {
		return q.namespace
	}
	return ""
}

// revision reads a resourceVersion; its error is no Status.
func revision(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		return 0, field.Invalid(field.NewPath("resourceVersion"), s, err.Error())
	}
	return int64(n), nil
}

// selection reads the selectors of a list, watch or deletecollection.
func (q *request) selection(o *metav1.ListOptions) (*cache.Selection, error) {
	var (
		label labels.Selector
		which fields.Selector
		err   error
	)
	if o.LabelSelector != "" {
		if label, err = labels.Parse(o.LabelSelector); err != nil {
			return nil, apierrors.NewBadRequest(err.Error())
		}
	}
	if o.FieldSelector != "" {
		if which, err = fields.ParseSelector(o.FieldSelector); err != nil {
			return nil, apierrors.NewBadRequest(err.Error())
		}
		stored := which
		if q.kind.row.Stored != q.kind.row {
			if stored, err = q.kind.storedFields(which); err != nil {
				return nil, apierrors.NewBadRequest(err.Error())
			}
		}
		if err := q.kind.row.Stored.CheckFields(stored); err != nil {
			return nil, apierrors.NewBadRequest(err.Error())
		}
		which = stored
	}
	if q.name != "" { // the older spelling of a watch of one object
		one := fields.OneTermEqualSelector("metadata.name", q.name)
		if which == nil {
			which = one
		} else {
			which = fields.AndSelectors(which, one)
		}
	}
	if q.kind.cache == nil {
		return cache.SelectUnkept(q.kind.row, label, which), nil
	}
	return q.kind.cache.Select(q.scope(), label, which), nil
}

// eventFields are the names that events.k8s.io gives to fields of core Events.
var eventFields = map[string]string{
	"regarding.kind": "involvedObject.kind", "regarding.namespace": "involvedObject.namespace",
	"regarding.name": "involvedObject.name", "regarding.uid": "involvedObject.uid",
	"regarding.apiVersion": "involvedObject.apiVersion", "regarding.resourceVersion": "involvedObject.resourceVersion",
	"regarding.fieldPath": "involvedObject.fieldPath", "reportingController": "reportingComponent",
}

// storedFields names the fields of a selector as the stored version does.
func (k *kind) storedFields(s fields.Selector) (fields.Selector, error) {
	if err := k.row.CheckFields(s); err != nil {
		return nil, err
	}
	if k.row.Stored.Kind != "Event" {
		return s, nil
	}
	return s.Transform(func(name, value string) (string, string, error) {
		if n := eventFields[name]; n != "" {
			name = n
		}
		return name, value, nil
	})
}

// checkList refuses parameters that contradict each other.
func checkList(o *metav1.ListOptions, watch bool) error {
	var errs field.ErrorList
	at, match := field.NewPath("resourceVersionMatch"), o.ResourceVersionMatch
	const exact, notOlder = metav1.ResourceVersionMatchExact, metav1.ResourceVersionMatchNotOlderThan
	forbid := func(when bool, path *field.Path, text string) {
		if when {
			errs = append(errs, field.Forbidden(path, text))
		}
	}
	if watch {
		forbid(o.SendInitialEvents != nil && match != notOlder, at, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")
		forbid(match != "" && o.SendInitialEvents == nil, at, "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided")
		if match != "" && match != notOlder {
			errs = append(errs, field.NotSupported(at, match, []string{string(notOlder)}))
		}
	} else {
		forbid(match != "" && o.ResourceVersion == "", at, "resourceVersionMatch is forbidden unless resourceVersion is provided")
	}
	forbid(match != "" && o.Continue != "", at, "resourceVersionMatch is forbidden when continue is provided")
	if !watch {
		if match != "" && match != exact && match != notOlder {
			errs = append(errs, field.NotSupported(at, match, []string{string(exact), string(notOlder), ""}))
		}
		forbid(match == exact && o.ResourceVersion == "0", at, `resourceVersionMatch "exact" is forbidden for resourceVersion "0"`)
		forbid(o.SendInitialEvents != nil, field.NewPath("sendInitialEvents"), "sendInitialEvents is forbidden for list")
	}
	if len(errs) == 0 {
		return nil
	}
	return apierrors.NewInvalid(schema.GroupKind{Group: metav1.GroupName, Kind: "ListOptions"}, "", errs)
}

// token is what a continue parameter holds, in upstream's form.
type token struct {
	APIVersion string `json:"v"`
	// Revision of the whole list; -1: whatever is newest.
	Revision int64  `json:"rv"`
	Start    string `json:"start"`
}

const tokenVersion = "meta.k8s.io/v1"

func (t token) String() string {
	t.APIVersion = tokenVersion
	b, err := json.Marshal(t)
	if err != nil {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

func parseToken(s string) (t token, err error) {
	b, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(s, "="))
	if err == nil {
		err = json.Unmarshal(b, &t)
	}
	switch {
	case err != nil:
	case t.APIVersion != tokenVersion:
		err = fmt.Errorf("server does not recognize this encoded version %v", t.APIVersion)
	case t.Revision == 0 || t.Revision < -1:
		err = fmt.Errorf("incorrect encoded start resourceVersion (version %s)", tokenVersion)
	case t.Start == "":
		err = fmt.Errorf("encoded start key empty (version %s)", tokenVersion)
	}
	if err != nil {
		return t, apierrors.NewBadRequest("invalid continue token: continue key is not valid: " + err.Error())
	}
	return t, nil
}

const tokenExpired = "The provided continue parameter is too old to display a consistent list result. " +
	"You can start a new list without the continue parameter, or use the continue token in this response to " +
	"retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - " +
	"objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list."

// page is what a list selects.
type page struct {
	entries []*cache.Entry
	meta    metav1.ListMeta
}

// snapshot returns the state that a list is of, and the key to start from.
func (q *request) snapshot(o *metav1.ListOptions) (*cache.Snapshot, string, error) {
	r := q.kind.cache
	if o.Continue != "" {
		t, err := parseToken(o.Continue)
		if err != nil {
			return nil, "", err
		}
		if o.ResourceVersion != "" && o.ResourceVersion != "0" {
			return nil, "", apierrors.NewBadRequest("specifying resource version is not allowed when using continue")
		}
		if t.Revision > 0 {
			s, err := r.At(q.ctx, t.Revision)
			if apierrors.IsResourceExpired(err) {
				expired := apierrors.NewResourceExpired(tokenExpired)
				expired.ErrStatus.ListMeta.Continue = token{Revision: -1, Start: t.Start}.String()
				return nil, "", expired
			}
			return s, t.Start, err
		}
		if err := q.kind.cache.WaitFresh(q.ctx); err != nil {
			return nil, "", err
		}
		return r.Snapshot(), t.Start, nil
	}
	n, err := revision(o.ResourceVersion)
	if err != nil {
		return nil, "", apierrors.NewBadRequest("invalid resource version: " + err.Error())
	}
	switch {
	case o.ResourceVersion == "":
		err = q.kind.cache.WaitFresh(q.ctx)
	case n > 0 && (o.ResourceVersionMatch == metav1.ResourceVersionMatchExact ||
		o.ResourceVersionMatch == "" && o.Limit > 0):
		s, err := r.At(q.ctx, n)
		if apierrors.IsResourceExpired(err) {
			err = apierrors.NewResourceExpired("The resourceVersion for the provided list is too old.")
		}
		return s, "", err
	case n > 0:
		err = q.kind.cache.WaitFor(q.ctx, n)
	}
	if err != nil {
		return nil, "", err
	}
	return r.Snapshot(), "", nil
}

// find makes the page that a list asks for.
func (q *request) find(o *metav1.ListOptions) (p page, err error) {
	if err := checkList(o, false); err != nil {
		return p, err
	}
	sel, err := q.selection(o)
	if err != nil {
		return p, err
	}
	s, start, err := q.snapshot(o)
	if err != nil {
		return p, err
	}
	all := sel.Whole()
	if all && o.Limit <= 0 {
		p.entries = make([]*cache.Entry, 0, s.Len())
	}
	more, seen := int64(0), 0
	s.Ascend(sel, start, func(e *cache.Entry) bool {
		seen++
		switch full := o.Limit > 0 && int64(len(p.entries)) == o.Limit; {
		case !all && !sel.Matches(e):
		case !full:
			p.entries = append(p.entries, e)
		default:
			// Whether one more matches decides about a further page; only
			// where nothing is selected is it known how many.
			more++
			return all
		}
		return true
	})
	q.kind.cache.Listed(s, sel, seen, len(p.entries))
	p.meta.ResourceVersion = strconv.FormatInt(s.Revision, 10)
	if more > 0 {
		last := p.entries[len(p.entries)-1]
		p.meta.Continue = token{Revision: s.Revision, Start: last.Key + "\x00"}.String()
		if all {
			p.meta.RemainingItemCount = &more
		}
		q.kind.cache.Keep(s)
	}
	return p, nil
}

func (q *request) list() error {
	if err := q.negotiate(shaped | collection); err != nil {
		return err
	}
	o, err := scheme.ParseListOptions(q.query)
	if err != nil {
		return err
	}
	p, err := q.find(&o)
	if err != nil {
		return err
	}
	return q.page(p)
}

// page answers with a list, joining bytes that exist.
func (q *request) page(p page) error {
	media, by := q.form.media, q.kind.encoders[q.form.media]
	switch q.form.shape {
	case table:
		objs := make([]runtime.Object, len(p.entries))
		for i, e := range p.entries {
			objs[i] = e.Object
		}
		t, err := q.table(objs, true)
		if err != nil {
			return err
		}
		t.ListMeta = p.meta
		return q.object(http.StatusOK, t)
	case partly:
		return notSuch(q.kind.row, "PartialObjectMetadata", "a list", "List")
	case partlyList:
		if q.form.beta {
			return q.betaList(p)
		}
		by = q.kind.partial[media]
	}
	if media == scheme.YAML || q.form.pretty && media == scheme.JSON {
		return q.slowPage(p)
	}
	items, err := cache.All(p.entries, by)
	if err != nil {
		return apierrors.NewInternalError(err)
	}
	q.w.Header()["Content-Type"] = contentTypes[media]
	out := q.beginSized(items)
	err = q.writeList(out, media, &p.meta, items)
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	return err
}

func (q *request) writeList(out io.Writer, media scheme.MediaType, meta *metav1.ListMeta, items [][]byte) error {
	if q.form.shape == partlyList {
		return scheme.WriteListOf(out, media, "meta.k8s.io/v1", "PartialObjectMetadataList", meta, items)
	}
	if media == scheme.Protobuf {
		return q.kind.row.WriteListProtobuf(out, meta, items)
	}
	return q.kind.row.WriteListJSON(out, meta, items)
}

// betaList answers with a list of metadata as it was before it was v1: in
// protobuf its fields had other numbers.
func (q *request) betaList(p page) error {
	list := &metav1beta1.PartialObjectMetadataList{ListMeta: p.meta, Items: make([]metav1.PartialObjectMetadata, len(p.entries))}
	list.APIVersion, list.Kind = betaVersion, "PartialObjectMetadataList"
	for i, e := range p.entries {
		list.Items[i] = *partial(e.Object)
		list.Items[i].APIVersion = betaVersion
	}
	return q.object(http.StatusOK, list)
}

const betaVersion = "meta.k8s.io/v1beta1"

// slowPage writes lists for human eyes.
func (q *request) slowPage(p page) error {
	by := q.kind.encoders[scheme.JSON]
	if q.form.shape == partlyList {
		by = q.kind.partial[scheme.JSON]
	}
	items, err := cache.All(p.entries, by)
	if err != nil {
		return apierrors.NewInternalError(err)
	}
	var j strings.Builder
	if err := q.writeList(&j, scheme.JSON, &p.meta, items); err != nil {
		return apierrors.NewInternalError(err)
	}
	b := []byte(strings.TrimSuffix(j.String(), "\n"))
	if q.form.media == scheme.YAML {
		y, err := yaml.JSONToYAML(b)
		if err != nil {
			return apierrors.NewInternalError(err)
		}
		b = y
	}
	q.body(http.StatusOK, b)
	return nil
}
