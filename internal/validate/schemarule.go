package validate

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strings"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	schemacel "k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel/model"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// What rules may cost, by the estimate of the worst case: one of them, for as many
// values as it may be asked of, and all of a schema. Those that make a schema too
// costly are named, up to mostCostly of them.
const (
	ruleBudget   = 10_000_000
	schemaBudget = 100_000_000
	mostCostly   = 4
)

// The reasons that a rule may give.
var ruleReasons = []apiextensionsv1.FieldValueErrorReason{ // never changed
	apiextensionsv1.FieldValueDuplicate, apiextensionsv1.FieldValueForbidden, apiextensionsv1.FieldValueInvalid, apiextensionsv1.FieldValueRequired,
}

// schemaRule judges a rule as far as that goes without compiling it.
func schemaRule(e *problems, s *apiextensionsv1.JSONSchemaProps, r *apiextensionsv1.ValidationRule, at *field.Path) {
	rule, message, text := strings.TrimSpace(r.Rule), strings.TrimSpace(r.Message), at.Child("message")
	switch {
	case rule == "":
		e.required(at.Child("rule"), "rule is not specified")
	case r.Message != "" && message == "":
		e.invalid(text, r.Message, "must be non-empty if specified")
	case strings.Contains(message, "\n"):
		e.invalid(text, r.Message, "must not contain line breaks")
	case strings.Contains(rule, "\n") && message == "":
		e.required(text, "message must be specified if rule contains line breaks")
	}
	if r.MessageExpression != "" && strings.TrimSpace(r.MessageExpression) == "" {
		e.required(at.Child("messageExpression"), "messageExpression must be non-empty if specified")
	}
	optionalOneOf(e, at, "reason", r.Reason, ruleReasons...)
	if p := r.FieldPath; p != "" {
		at := at.Child("fieldPath")
		if strings.TrimSpace(p) == "" {
			e.invalid(at, p, "must be non-empty if specified")
		}
		if strings.Contains(p, "\n") {
			e.invalid(at, p, "must not contain line breaks")
		}
		// What has no structure is refused for that.
		if structural, err := structure(s); err == nil {
			if _, _, err := schemacel.ValidFieldPath(p, structural); err != nil {
				e.invalid(at, p, "must be a valid path")
			}
		}
	}
}

// structure returns a schema as a structural one.
func structure(s *apiextensionsv1.JSONSchemaProps) (*schema.Structural, error) {
	var internal apiextensions.JSONSchemaProps
	if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(s, &internal, nil); err != nil {
		return nil, err
	}
	return schema.NewStructural(&internal)
}

// schemaDefaults returns what is wrong with a schema's defaults, which must be
// what it accepts. They may hold what it does not know if those of old did.
func schemaDefaults(s *schema.Structural, old *apiextensionsv1.JSONSchemaProps, at *field.Path) field.ErrorList {
	errs, err := defaulting.ValidateDefaults(context.Background(), at, s, true, true)
	if err == nil && len(errs) > 0 && old != nil {
		was, wrong := structure(old)
		if wrong == nil {
			if before, wrong := defaulting.ValidateDefaults(context.Background(), at, was, true, true); wrong == nil && len(before) > 0 {
				errs, err = defaulting.ValidateDefaults(context.Background(), at, s, true, false)
			}
		}
	}
	if err != nil {
		errs = append(errs, field.InternalError(at, err))
	}
	return errs
}

// fewDefaults are so many that they may be judged whatever the rules cost.
const fewDefaults = 16

// defaulted counts the defaults of a schema and of those within it.
func defaulted(s *schema.Structural) int {
	n := 0
	if s.Default.Object != nil {
		n++
	}
	for _, p := range s.Properties {
		n += defaulted(&p)
	}
	if s.Items != nil {
		n += defaulted(s.Items)
	}
	if a := s.AdditionalProperties; a != nil && a.Structural != nil {
		n += defaulted(a.Structural)
	}
	return n
}

// schemaRules compiles the rules of a schema and of those within it, and adds up
// what they cost.
type schemaRules struct {
	e *problems // of the rules alone
	// wrong is what else is. Of rules of schemas of which, or in which, that is
	// said, nothing is; only most counts them.
	wrong field.ErrorList
	// asBefore says that the schema has not changed: then its rules may each
	// cost what they did.
	asBefore bool
	total    uint64
	most     uint64
	costly   []costlyRule
}

type costlyRule struct {
	at   *field.Path
	cost uint64
}

// place is where in a schema one is.
type place struct {
	at   *field.Path
	root bool
	// values is how many there may be; math.MaxUint64 is any number.
	values uint64
	// apart is the list, or map, whose items cannot be told from what they were before.
	apart *field.Path
}

// check judges all rules of a schema.
func (r *schemaRules) check(s *schema.Structural, at *field.Path) {
	r.visit(s, place{at: at, root: true, values: 1})
	if r.total <= schemaBudget {
		return
	}
	for _, c := range r.costly {
		r.e.forbidden(c.at, "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema")
	}
	r.e.forbidden(at, overBudget("x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema", r.total, schemaBudget))
}

func (r *schemaRules) visit(s *schema.Structural, p place) {
	apart := p.apart
	if m := s.XMapType; apart == nil && m != nil && *m != "granular" && *m != "atomic" {
		apart = p.at
	}
	for name, child := range sorted(s.Properties) {
		r.visit(&child, place{at: p.at.Child("properties").Key(name), values: p.values, apart: apart})
	}
	var items, properties *int64
	if v := s.ValueValidation; v != nil {
		items, properties = v.MaxItems, v.MaxProperties
	}
	if s.Items != nil {
		below := place{at: p.at.Child("items"), values: times(p.values, items), apart: p.apart}
		if below.apart == nil && (s.XListType == nil || *s.XListType != "map") {
			below.apart = p.at
		}
		r.visit(s.Items, below)
	}
	if a := s.AdditionalProperties; a != nil && a.Structural != nil {
		r.visit(a.Structural, place{at: p.at.Child("additionalProperties"), values: times(p.values, properties), apart: apart})
	}
	if len(s.XValidations) > 0 {
		r.compile(s, p, r.spoilt(p.at))
	}
}

func (r *schemaRules) spoilt(at *field.Path) bool {
	return slices.ContainsFunc(r.wrong, func(e *field.Error) bool {
		below, ok := strings.CutPrefix(e.Field, at.String())
		return ok && (below == "" || strings.ContainsAny(below[:1], ".["))
	})
}

// times is how many values there are if each of n has up to most.
func times(n uint64, most *int64) uint64 {
	if n == math.MaxUint64 || most == nil {
		return math.MaxUint64
	}
	return multiply(n, uint64(max(*most, 0)))
}

func add(a, b uint64) uint64 {
	if n, over := bits.Add64(a, b, 0); over == 0 {
		return n
	}
	return math.MaxUint64
}

func multiply(a, b uint64) uint64 {
	if over, n := bits.Mul64(a, b); over == 0 {
		return n
	}
	return math.MaxUint64
}

// compile compiles the rules of one schema.
func (r *schemaRules) compile(s *schema.Structural, p place, spoilt bool) {
	rules := p.at.Child("x-kubernetes-validations")
	t := model.SchemaDeclType(s, p.root || s.XEmbeddedResource)
	if t == nil {
		return // nothing can be said of such values, and upstream does not try
	}
	results, err := r.e.cel.Rules(s, t, r.e.stored.origin)
	if err != nil {
		r.e.add(field.InternalError(rules, err))
		r.most = math.MaxUint64
		return
	}
	for i, c := range results {
		rule, at := s.XValidations[i], rules.Index(i)
		of := p.values
		if of == math.MaxUint64 {
			of = c.MaxCardinality
		}
		if c.Error == nil {
			r.most = add(r.most, add(multiply(c.MaxCost, of), c.MessageExpressionMaxCost))
		}
		if spoilt {
			continue
		}
		r.e.refused(at.Child("rule"), shown(rule), c.Error)
		if c.Error == nil {
			r.spend("rule", at.Child("rule"), multiply(c.MaxCost, of))
			if c.UsesOldSelf && p.apart != nil {
				r.e.invalid(at.Child("rule"), rule.Rule, fmt.Sprintf("oldSelf cannot be used on the uncorrelatable portion of the schema within %v", p.apart))
			}
		}
		r.e.refused(at.Child("messageExpression"), shown(rule), c.MessageExpressionError)
		if c.MessageExpression != nil { // whose cost upstream takes for once, however many values there are
			r.spend("messageExpression", at.Child("messageExpression"), c.MessageExpressionMaxCost)
		}
		if o := rule.OptionalOldSelf; o != nil && !c.UsesOldSelf {
			r.e.invalid(at.Child("optionalOldSelf"), *o, "may not be set if oldSelf is not used in rule")
		}
	}
}

// shown is a rule as it is told of: upstream has its fields by their Go names.
func shown(r apiextensionsv1.ValidationRule) apiextensions.ValidationRule {
	return apiextensions.ValidationRule{
		Rule: r.Rule, Message: r.Message, MessageExpression: r.MessageExpression, FieldPath: r.FieldPath,
		Reason: (*apiextensions.FieldValueErrorReason)(r.Reason), OptionalOldSelf: r.OptionalOldSelf,
	}
}

// spend adds what an expression costs.
func (r *schemaRules) spend(what string, at *field.Path, cost uint64) {
	if cost > ruleBudget && !r.asBefore {
		r.e.forbidden(at, overBudget("estimated "+what+" cost", cost, ruleBudget))
	}
	r.total = add(r.total, cost)
	if cost < schemaBudget/100 {
		return // others did it
	}
	r.costly = append(r.costly, costlyRule{at, cost})
	slices.SortStableFunc(r.costly, func(a, b costlyRule) int { return cmp.Compare(b.cost, a.cost) })
	r.costly = r.costly[:min(len(r.costly), mostCostly)]
}

// overBudget says how much too costly something is: that it is hardly so, or
// beyond all measure.
func overBudget(what string, cost, budget uint64) string {
	factor := float64(cost) / float64(budget)
	by := fmt.Sprintf("%.1fx", factor)
	switch {
	case factor > 100:
		by = "more than 100x"
	case factor < 1.5:
		by = fmt.Sprintf("%fx", factor)
	}
	return what + " exceeds budget by factor of " + by + " (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"
}

// ruleTexts returns the expressions of a schema and of those within it.
func ruleTexts(s *apiextensionsv1.JSONSchemaProps) (all []string) {
	for _, r := range s.XValidations {
		all = append(all, r.Rule, r.MessageExpression)
	}
	eachSubschema(s, nil, func(s *apiextensionsv1.JSONSchemaProps, _ *field.Path) { all = append(all, ruleTexts(s)...) })
	return all
}

// The most fields that custom resources can be selected by.
const mostSelectable = 8

// selectableFields judges the fields that custom resources can be selected by.
// Without a structure there is none to look for them in.
func selectableFields(e *problems, all []apiextensionsv1.SelectableField, s *schema.Structural, at *field.Path) {
	seen := map[string]bool{}
	for i, f := range all {
		at, p := at.Index(i).Child("jsonPath"), f.JSONPath
		if p == "" {
			e.required(at, "")
			continue
		}
		if s == nil {
			continue
		}
		_, found, err := schemacel.ValidFieldPath(p, s, schemacel.WithFieldPathAllowArrayNotation(false))
		if err != nil {
			e.invalid(at, p, "is an invalid path: "+err.Error())
			continue
		}
		if !slices.Contains([]string{"string", "boolean", "integer"}, found.Type) {
			e.invalid(at, p, "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.")
		}
		if seen[p] {
			e.add(field.Duplicate(at, p))
		}
		seen[p] = true
	}
	if len(seen) > mostSelectable {
		e.add(field.TooMany(at, len(seen), mostSelectable))
	}
}
