package validate

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

var definitionRules = &rules{ // never changed
	create: rule(func(e *problems, c *apiextensionsv1.CustomResourceDefinition) {
		for _, f := range [...]struct{ field, name string }{{"generateName", c.GenerateName}, {"name", c.Name}} {
			if f.name != "" && f.name != c.Spec.Names.Plural+"."+c.Spec.Group {
				e.invalid(metadata.Child(f.field), f.name, `must be spec.names.plural+"."+spec.group`)
			}
		}
		definition(e, c, nil)
	}),
	update: change(func(e *problems, c, old *apiextensionsv1.CustomResourceDefinition) {
		definition(e, c, old)
		at := field.NewPath("spec")
		e.immutable(at, "group", c.Spec.Group, c.Spec.Group == old.Spec.Group)
		e.immutable(at.Child("names"), "plural", c.Spec.Names.Plural, c.Spec.Names.Plural == old.Spec.Names.Plural)
		if established(old) {
			e.immutable(at, "scope", c.Spec.Scope, c.Spec.Scope == old.Spec.Scope)
			e.immutable(at.Child("names"), "kind", c.Spec.Names.Kind, c.Spec.Names.Kind == old.Spec.Names.Kind)
		}
	}),
	warnings: warning(func(c, old *apiextensionsv1.CustomResourceDefinition) (out []string) {
		if old != nil && sameSpec(&c.Spec, &old.Spec) {
			return nil
		}
		for i := range c.Spec.Versions {
			if s := c.Spec.Versions[i].Schema; s != nil && s.OpenAPIV3Schema != nil {
				out = append(out, formatWarnings(s.OpenAPIV3Schema)...)
			}
		}
		return out
	}),
	subresources: subresources{"status": same(func(e *problems, c *apiextensionsv1.CustomResourceDefinition) {
		acceptedNames(e, &c.Status.AcceptedNames, statusPath.Child("acceptedNames"))
	})},
}

// acceptedNames judges what a definition came to be called, so far.
func acceptedNames(e *problems, n *apiextensionsv1.CustomResourceDefinitionNames, at *field.Path) {
	given := func(name, value string, check func(string) []string) {
		if value != "" {
			e.check(at, name, value, check)
		}
	}
	given("plural", n.Plural, validation.IsDNS1035Label)
	given("singular", n.Singular, validation.IsDNS1035Label)
	given("kind", n.Kind, mixedLabel)
	given("listKind", n.ListKind, mixedLabel)
	groupedNames(e, n, at)
}

func established(c *apiextensionsv1.CustomResourceDefinition) bool {
	for _, cond := range c.Status.Conditions {
		if cond.Type == apiextensionsv1.Established {
			return cond.Status == apiextensionsv1.ConditionTrue
		}
	}
	return false
}

// definition judges a definition that is new or replaces old.
func definition(e *problems, c, old *apiextensionsv1.CustomResourceDefinition) {
	s, at := &c.Spec, field.NewPath("spec")
	switch {
	case s.Group == "":
		e.required(at.Child("group"), "")
	case len(dnsSubdomain(s.Group)) > 0:
		e.check(at, "group", s.Group, dnsSubdomain)
	case !strings.Contains(s.Group, "."):
		e.invalid(at.Child("group"), s.Group, "should be a domain with at least one dot")
	}
	givenOneOf(e, at, "scope", s.Scope, apiextensionsv1.ClusterScoped, apiextensionsv1.NamespaceScoped)
	if s.PreserveUnknownFields {
		e.invalid(at.Child("preserveUnknownFields"), true, "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead")
	}
	definedVersions(e, c, old, at)
	definedNames(e, &s.Names, at.Child("names"))
	conversion(e, s.Conversion, at.Child("conversion"))
	storedVersions(e, c)
}

func definedVersions(e *problems, c, old *apiextensionsv1.CustomResourceDefinition, at *field.Path) {
	schemas := map[string]*apiextensionsv1.JSONSchemaProps{}
	if old != nil {
		for _, v := range old.Spec.Versions {
			if v.Schema != nil && v.Schema.OpenAPIV3Schema != nil {
				schemas[v.Name] = v.Schema.OpenAPIV3Schema
				for _, x := range ruleTexts(v.Schema.OpenAPIV3Schema) {
					e.before()[x] = true
				}
			}
		}
	}
	versions := c.Spec.Versions
	unique, names := true, map[string]bool{}
	storing, alike := 0, alikeVersions(versions)
	for i := range versions {
		v := &versions[i]
		if v.Storage {
			storing++
		}
		unique = unique && !names[v.Name]
		names[v.Name] = true
		at := at.Child("versions").Index(i)
		e.check(at, "name", v.Name, validation.IsDNS1035Label)
		if i == 0 && v.Name != "" {
			e.check(field.NewPath("spec"), "version", v.Name, validation.IsDNS1035Label)
		}
		definedVersion(e, v, schemas[v.Name], alike, i == 0, at)
	}
	if !unique {
		e.invalid(at.Child("versions"), versions, "must contain unique version names")
	}
	if storing != 1 {
		e.invalid(at.Child("versions"), versions, "must have exactly one version marked as storage version")
	}
}

// storedVersions judges which versions there may be objects of.
func storedVersions(e *problems, c *apiextensionsv1.CustomResourceDefinition) {
	at := field.NewPath("status", "storedVersions")
	if len(c.Status.StoredVersions) == 0 {
		e.invalid(at, c.Status.StoredVersions, "must have at least one stored version")
		return
	}
	stored, storing, names := "", 0, map[string]bool{}
	for _, v := range c.Spec.Versions {
		names[v.Name] = true
		if v.Storage {
			storing++
			stored = v.Name
		}
	}
	for i, v := range c.Status.StoredVersions {
		if !names[v] {
			e.invalid(at.Index(i), v, "missing from spec.versions; "+v+" was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in "+v+" and removes "+v+" from status.storedVersions")
		}
	}
	if stored != "" && (!slices.Contains(c.Status.StoredVersions, stored) || storing > 1) {
		e.invalid(at, c.Status.StoredVersions, "must have the storage version "+stored)
	}
}

// alike says what all versions of a definition have in common. That is told of
// where it was when there was one version alone, and once.
type alike struct{ schema, subresources, columns, selectable bool }

func alikeVersions(all []apiextensionsv1.CustomResourceDefinitionVersion) alike {
	is := alike{true, true, true, true}
	for i := range all {
		a, b := &all[0], &all[i]
		is.schema = is.schema && apiequality.Semantic.DeepEqual(a.Schema, b.Schema)
		is.subresources = is.subresources && apiequality.Semantic.DeepEqual(a.Subresources, b.Subresources)
		is.columns = is.columns && apiequality.Semantic.DeepEqual(a.AdditionalPrinterColumns, b.AdditionalPrinterColumns)
		is.selectable = is.selectable && apiequality.Semantic.DeepEqual(a.SelectableFields, b.SelectableFields)
	}
	return is
}

// definedVersion judges what a version says of its objects, whose schema was old.
func definedVersion(e *problems, v *apiextensionsv1.CustomResourceDefinitionVersion, old *apiextensionsv1.JSONSchemaProps, all alike, first bool, at *field.Path) {
	place := func(alike bool) (*field.Path, bool) {
		if alike {
			return field.NewPath("spec"), first
		}
		return at, true
	}
	if v.DeprecationWarning != nil {
		deprecationWarning(e, v, at.Child("deprecationWarning"))
	}
	var structural *schema.Structural
	missing := v.Schema == nil || v.Schema.OpenAPIV3Schema == nil
	if missing {
		e.required(at.Child("schema", "openAPIV3Schema"), "")
	} else if where, judge := place(all.schema); judge {
		holder := where.Child("schema")
		if all.schema {
			holder = where.Child("validation")
		}
		structural = jsonSchema(e, v.Schema.OpenAPIV3Schema, old, holder.Child("openAPIV3Schema"))
	}
	if where, judge := place(all.subresources); judge && v.Subresources != nil && v.Subresources.Scale != nil {
		scalePaths(e, v.Subresources.Scale, where.Child("subresources", "scale"))
	}
	if where, judge := place(all.columns); judge {
		columns(e, v.AdditionalPrinterColumns, where.Child("additionalPrinterColumns"))
	}
	if where, judge := place(all.selectable); judge && len(v.SelectableFields) > 0 {
		// Upstream has them beside the schema that they are of.
		switch at := where.Child("selectableFields"); {
		case all.selectable && (missing || !all.schema):
			e.invalid(at, "", "may only be set when validations.schema is included")
		case !all.selectable && all.schema:
			e.invalid(at, "", "may only be set when `version.schema.openAPIV3Schema` is not included")
		default:
			selectableFields(e, v.SelectableFields, structural, at)
		}
	}
}

// The longest text that says why a version is not to be used.
const longestDeprecation = 256

func deprecationWarning(e *problems, v *apiextensionsv1.CustomResourceDefinitionVersion, at *field.Path) {
	text := *v.DeprecationWarning
	if !v.Deprecated {
		e.invalid(at, text, "can only be set for deprecated versions")
		return
	}
	if text == "" {
		e.invalid(at, text, "must not be an empty string")
	}
	if len(text) > longestDeprecation {
		e.invalid(at, text, fmt.Sprintf("must be <= %d bytes", longestDeprecation))
	}
	for i, r := range text {
		if !unicode.IsPrint(r) {
			e.invalid(at, text, fmt.Sprintf("must only contain printable UTF-8 characters; non-printable character found at index %d", i))
			break
		}
	}
}

// scalePaths judges where the replicas of custom resources are.
func scalePaths(e *problems, s *apiextensionsv1.CustomResourceSubresourceScale, at *field.Path) {
	below := func(name, path string, roots ...string) {
		if !strings.HasPrefix(path, ".") {
			e.invalid(at.Child(name), path, "must be a simple json path starting with .")
		} else if !slices.ContainsFunc(roots, func(root string) bool { return strings.HasPrefix(path, root+".") }) {
			e.invalid(at.Child(name), path, "should be a json path under "+strings.Join(roots, " or "))
		}
	}
	if e.given(at, "specReplicasPath", s.SpecReplicasPath) {
		below("specReplicasPath", s.SpecReplicasPath, ".spec")
	}
	if e.given(at, "statusReplicasPath", s.StatusReplicasPath) {
		below("statusReplicasPath", s.StatusReplicasPath, ".status")
	}
	if p := s.LabelSelectorPath; p != nil && *p != "" {
		below("labelSelectorPath", *p, ".spec", ".status")
	}
}

// columns judges what is shown of custom resources in a table.
func columns(e *problems, list []apiextensionsv1.CustomResourceColumnDefinition, at *field.Path) {
	for i, c := range list {
		at := at.Index(i)
		e.given(at, "name", c.Name)
		if c.Type == "" {
			e.required(at.Child("type"), "must be one of boolean,date,integer,number,string")
		} else {
			amongThese(e, at.Child("type"), c.Type, "boolean", "date", "integer", "number", "string")
		}
		if c.Format != "" {
			amongThese(e, at.Child("format"), c.Format, "byte", "date", "date-time", "double", "float", "int32", "int64", "password")
		}
		if e.given(at, "JSONPath", c.JSONPath) && c.JSONPath[0] != '.' {
			e.invalid(at.Child("JSONPath"), c.JSONPath, "must be a simple json path starting with .")
		}
	}
}

// amongThese is oneOf in the words that are used of columns.
func amongThese(e *problems, at *field.Path, value string, supported ...string) {
	if !slices.Contains(supported, value) {
		e.invalid(at, value, "must be one of "+strings.Join(supported, ","))
	}
}

func definedNames(e *problems, n *apiextensionsv1.CustomResourceDefinitionNames, at *field.Path) {
	e.checked(at, "plural", n.Plural, validation.IsDNS1035Label)
	e.checked(at, "singular", n.Singular, validation.IsDNS1035Label)
	e.checked(at, "kind", n.Kind, mixedLabel)
	e.checked(at, "listKind", n.ListKind, mixedLabel)
	if n.Kind != "" && n.Kind == n.ListKind {
		e.invalid(at.Child("listKind"), n.ListKind, "kind and listKind may not be the same")
	}
	groupedNames(e, n, at)
}

func groupedNames(e *problems, n *apiextensionsv1.CustomResourceDefinitionNames, at *field.Path) {
	for i, s := range n.ShortNames {
		e.texts(at.Child("shortNames").Index(i), s, validation.IsDNS1035Label(s))
	}
	for i, s := range n.Categories {
		e.texts(at.Child("categories").Index(i), s, validation.IsDNS1035Label(s))
	}
}

// mixedLabel is a label but for its case.
func mixedLabel(name string) []string {
	texts := validation.IsDNS1035Label(strings.ToLower(name))
	for i := range texts {
		texts[i] = "may have mixed case, but should otherwise match: " + texts[i]
	}
	return texts
}

func conversion(e *problems, c *apiextensionsv1.CustomResourceConversion, at *field.Path) {
	if c == nil {
		return
	}
	givenOneOf(e, at, "strategy", c.Strategy, apiextensionsv1.NoneConverter, apiextensionsv1.WebhookConverter)
	if c.Strategy != apiextensionsv1.WebhookConverter {
		const text = "should not be set when strategy is not set to Webhook"
		if c.Webhook != nil && c.Webhook.ClientConfig != nil {
			e.forbidden(at.Child("webhookClientConfig"), text)
		}
		if c.Webhook != nil && len(c.Webhook.ConversionReviewVersions) > 0 {
			e.forbidden(at.Child("conversionReviewVersions"), text)
		}
		return
	}
	if c.Webhook == nil || c.Webhook.ClientConfig == nil {
		e.required(at.Child("webhookClientConfig"), "required when strategy is set to Webhook")
	} else {
		w := c.Webhook.ClientConfig
		at := at.Child("webhookClientConfig")
		var s *serviceReference
		if w.Service != nil {
			s = &serviceReference{w.Service.Namespace, w.Service.Name, w.Service.Path, w.Service.Port}
		}
		clientConfig(e, w.URL, s, at)
	}
	if c.Webhook == nil || len(c.Webhook.ConversionReviewVersions) == 0 {
		e.required(at.Child("conversionReviewVersions"), "")
		return
	}
	reviewVersions(e, c.Webhook.ConversionReviewVersions, at.Child("conversionReviewVersions"))
}
