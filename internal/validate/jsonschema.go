package validate

import (
	"fmt"
	"slices"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// The types that a schema may be of.
var schemaTypes = []string{"array", "boolean", "integer", "number", "object", "string"} // never changed

// jsonSchema judges the schema of custom resources, which replaces old: whether it
// is structural, and what it may say at all; then its defaults, and if there is
// nothing against them, its rules. It returns what structure the schema has.
func jsonSchema(e *problems, s, old *apiextensionsv1.JSONSchemaProps, at *field.Path) *schema.Structural {
	if s.Nullable {
		e.forbidden(at.Child("nullable"), "nullable cannot be true at the root")
	}
	structural, err := structure(s)
	before := len(e.list)
	if err == nil {
		e.all(schema.ValidateStructural(at, structural))
	}
	sound, within := err == nil && len(e.list) == before, len(e.list)
	subschema(e, s, at)
	if err != nil && len(e.list) == before { // nothing has been said yet of what is not supported
		e.invalid(at, "", err.Error())
	}
	if !sound || !e.affords(at, ruleTexts(s)...) {
		return structural
	}
	r := &schemaRules{
		e: &problems{cel: e.cel, stored: e.stored}, wrong: slices.Clone(e.list[within:]),
		asBefore: old != nil && apiequality.Semantic.DeepEqual(s, old),
	}
	r.check(structural, at)
	// Rules that cost too much are asked of a few defaults at most: each may take
	// a second.
	if r.most <= schemaBudget || defaulted(structural) <= fewDefaults {
		if wrong := schemaDefaults(structural, old, at); len(wrong) > 0 {
			e.all(wrong)
			return structural
		}
	}
	e.all(r.e.list)
	return structural
}

// subschema judges a schema and those within it.
func subschema(e *problems, s *apiextensionsv1.JSONSchemaProps, at *field.Path) {
	for _, f := range []struct {
		name string
		set  bool
		text string
	}{
		{"id", s.ID != "", "id is not supported"},
		{"$ref", s.Ref != nil, "$ref is not supported"},
		{"additionalItems", s.AdditionalItems != nil, "additionalItems is not supported"},
		{"patternProperties", len(s.PatternProperties) > 0, "patternProperties is not supported"},
		{"definitions", len(s.Definitions) > 0, "definitions is not supported"},
		{"dependencies", s.Dependencies != nil, "dependencies is not supported"},
		{"uniqueItems", s.UniqueItems, "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"},
		{"items", s.Items != nil && len(s.Items.JSONSchemas) > 0, "items must be a schema object and not an array"},
		{"type", s.Type == "null", "type cannot be set to null, use nullable as an alternative"},
	} {
		if f.set {
			e.forbidden(at.Child(f.name), f.text)
		}
	}
	if s.Type != "" {
		oneOf(e, at, "type", s.Type, schemaTypes...)
	}
	if a := s.AdditionalProperties; a != nil {
		if len(s.Properties) > 0 && (a.Schema != nil || !a.Allows) {
			e.forbidden(at.Child("additionalProperties"), "additionalProperties and properties are mutual exclusive")
		}
	}
	eachSubschema(s, at, func(s *apiextensionsv1.JSONSchemaProps, at *field.Path) { subschema(e, s, at) })
	schemaExtensions(e, s, at)
	for name, d := range sorted(s.Definitions) {
		subschema(e, &d, at.Child("definitions").Key(name))
	}
}

// eachSubschema calls f with the schemas right below one.
func eachSubschema(s *apiextensionsv1.JSONSchemaProps, at *field.Path, f func(*apiextensionsv1.JSONSchemaProps, *field.Path)) {
	if s.Items != nil && s.Items.Schema != nil {
		f(s.Items.Schema, at.Child("items"))
	}
	for _, list := range []struct {
		name string
		of   []apiextensionsv1.JSONSchemaProps
	}{{"allOf", s.AllOf}, {"oneOf", s.OneOf}, {"anyOf", s.AnyOf}} {
		for i := range list.of {
			f(&list.of[i], at.Child(list.name).Index(i))
		}
	}
	if s.Not != nil {
		f(s.Not, at.Child("not"))
	}
	for name, p := range sorted(s.Properties) {
		f(&p, at.Child("properties").Key(name))
	}
	if s.AdditionalProperties != nil && s.AdditionalProperties.Schema != nil {
		f(s.AdditionalProperties.Schema, at.Child("additionalProperties"))
	}
}

// schemaExtensions judges what a schema says beyond JSON schemas' own fields.
func schemaExtensions(e *problems, s *apiextensionsv1.JSONSchemaProps, at *field.Path) {
	if p := s.XPreserveUnknownFields; p != nil && !*p {
		e.invalid(at.Child("x-kubernetes-preserve-unknown-fields"), false, "must be true or undefined")
	}
	of := func(wanted, extension string) {
		text := fmt.Sprintf("must be %s if %s is specified", wanted, extension)
		if s.Type == "" {
			e.required(at.Child("type"), text)
		} else if s.Type != wanted {
			e.invalid(at.Child("type"), s.Type, text)
		}
	}
	if m := s.XMapType; m != nil {
		of("object", "x-kubernetes-map-type")
		oneOf(e, at, "x-kubernetes-map-type", *m, "atomic", "granular")
	}
	if l := s.XListType; l != nil {
		of("array", "x-kubernetes-list-type")
		oneOf(e, at, "x-kubernetes-list-type", *l, "atomic", "map", "set")
	}
	listKeys(e, s, at)
	listItems(e, s, at)
	for i := range s.XValidations {
		schemaRule(e, s, &s.XValidations[i], at.Child("x-kubernetes-validations").Index(i))
	}
}

// listKeys judges what the items of a list are told apart by.
func listKeys(e *problems, s *apiextensionsv1.JSONSchemaProps, at *field.Path) {
	const list = "x-kubernetes-list-type"
	keys := at.Child("x-kubernetes-list-map-keys")
	if len(s.XListMapKeys) > 0 {
		const text = "must be map if x-kubernetes-list-map-keys is non-empty"
		if s.XListType == nil {
			e.required(at.Child(list), text)
		} else if *s.XListType != "map" {
			e.invalid(at.Child(list), *s.XListType, text)
		}
	}
	if s.XListType == nil || *s.XListType != "map" {
		return
	}
	if len(s.XListMapKeys) == 0 {
		e.required(keys, "must not be empty if x-kubernetes-list-type is map")
	}
	if s.Items == nil || s.Items.Schema == nil {
		e.required(at.Child("items"), "must have a schema if x-kubernetes-list-type is map")
		return
	}
	items := s.Items.Schema
	if items.Type != "object" {
		e.invalid(at.Child("items", "type"), items.Type, "must be object if parent array's x-kubernetes-list-type is map")
	}
	for i, k := range s.XListMapKeys {
		if p, ok := items.Properties[k]; ok {
			if p.Type == "array" || p.Type == "object" {
				e.invalid(at.Child("items", "properties").Key(k).Child("type"), p.Type, "must be a scalar type if parent array's x-kubernetes-list-type is map")
			}
		} else {
			e.invalid(keys, s.XListMapKeys, "entries must all be names of item properties")
		}
		if slices.Contains(s.XListMapKeys[:i], k) {
			e.invalid(keys, s.XListMapKeys, "must not contain duplicate entries")
		}
	}
}

// listItems judges what the items are of a list that is merged by them: none
// is nothing, each can be told from the others, and as a whole.
func listItems(e *problems, s *apiextensionsv1.JSONSchemaProps, at *field.Path) {
	if s.XListType == nil || s.Items == nil || s.Items.Schema == nil {
		return
	}
	items, at := s.Items.Schema, at.Child("items")
	given := func() {
		if items.Nullable {
			e.forbidden(at.Child("nullable"), "cannot be nullable when x-kubernetes-list-type is "+*s.XListType)
		}
	}
	switch *s.XListType {
	case "set":
		const text = "must be atomic as item of a list with x-kubernetes-list-type=set"
		switch {
		case items.Type == "object" && (items.XMapType == nil || *items.XMapType != "atomic"):
			e.invalid(at.Child("x-kubernetes-map-type"), nil, text)
		case items.Type == "array" && items.XListType != nil && *items.XListType != "atomic":
			e.invalid(at.Child("x-kubernetes-list-type"), *items.XListType, text)
		}
		given()
	case "map":
		given()
		for _, k := range s.XListMapKeys {
			p, ok := items.Properties[k]
			at := at.Child("properties").Key(k)
			if ok && p.Default == nil && !slices.Contains(items.Required, k) {
				e.required(at.Child("default"), "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property")
			}
			if ok && p.Nullable {
				e.forbidden(at.Child("nullable"), "this property is in x-kubernetes-list-map-keys, so it cannot be nullable")
			}
		}
	}
}

// The formats that values are checked against; others mean nothing.
var formats = []string{ // never changed
	"binary", "bsonobjectid", "byte", "cidr", "creditcard", "date", "date-time", "datetime", "double", "duration", "email", "float", "hexcolor", "hostname",
	"int32", "int64", "ipv4", "ipv6", "isbn", "isbn10", "isbn13", "k8s-long-name", "k8s-short-name", "mac", "password", "rgbcolor", "ssn", "uri",
	"uuid", "uuid3", "uuid4", "uuid5",
}

// formatWarnings warns of formats that are none, in a schema and those within it.
func formatWarnings(s *apiextensionsv1.JSONSchemaProps) (out []string) {
	if s.Format != "" && !slices.Contains(formats, s.Format) {
		out = append(out, fmt.Sprintf("unrecognized format %q", s.Format))
	}
	eachSubschema(s, nil, func(s *apiextensionsv1.JSONSchemaProps, _ *field.Path) { out = append(out, formatWarnings(s)...) })
	return out
}
