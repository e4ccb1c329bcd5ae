package main

import (
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/kube-openapi/pkg/validation/spec"

	"clipper/internal/scheme"
)

const definitionPrefix = "#/definitions/"

// documentV2 is the one document of version 2, for clients that read no other.
func documentV2(t *scheme.Table) *spec.Swagger {
	s := newSchemas(t, definitionPrefix, finishV2)
	paths := map[string]spec.PathItem{}
	for _, g := range t.Groups() {
		for _, v := range g.Versions {
			gv := schema.GroupVersion{Group: g.Name, Version: v}
			for _, r := range routes(t, gv) {
				p := spec.PathItem{PathItemProps: spec.PathItemProps{Parameters: parametersV2(r.parameters)}}
				for _, op := range r.operations {
					o := s.operationV2(op, gv)
					switch op.method {
					case "get":
						p.Get = o
					case "put":
						p.Put = o
					case "post":
						p.Post = o
					case "delete":
						p.Delete = o
					case "patch":
						p.Patch = o
					}
				}
				paths[r.path] = p
			}
		}
	}
	all := spec.Definitions{}
	for name, d := range s.used {
		all[name] = *d
	}
	return &spec.Swagger{SwaggerProps: spec.SwaggerProps{
		Swagger:     "2.0",
		Info:        &spec.Info{InfoProps: spec.InfoProps{Title: "Kubernetes", Version: version}},
		Paths:       &spec.Paths{Paths: paths},
		Definitions: all,
		SecurityDefinitions: spec.SecurityDefinitions{"BearerToken": {SecuritySchemeProps: spec.SecuritySchemeProps{
			Type: "apiKey", Name: "authorization", In: "header", Description: "Bearer Token authentication",
		}}},
		Security: []map[string][]string{{"BearerToken": {}}},
	}}
}

func (s *schemas) operationV2(op operation, gv schema.GroupVersion) *spec.Operation {
	o := &spec.Operation{OperationProps: spec.OperationProps{
		Tags: []string{tag(gv, false)}, Description: op.about, ID: op.id, Schemes: []string{"https"},
		Consumes: anyType, Produces: op.types, Parameters: parametersV2(op.query),
		Responses: &spec.Responses{ResponsesProps: spec.ResponsesProps{StatusCodeResponses: map[int]spec.Response{
			401: {ResponseProps: spec.ResponseProps{Description: "Unauthorized"}},
		}}},
	}}
	if op.body != "" {
		o.Consumes = op.bodyTypes
		o.Parameters = append(o.Parameters, spec.Parameter{ParamProps: spec.ParamProps{
			Name: "body", In: "body", Required: !op.optional, Schema: s.refV2(op.body),
		}})
	}
	for code, model := range op.answers {
		o.Responses.StatusCodeResponses[code] = spec.Response{ResponseProps: spec.ResponseProps{
			Description: answer[code], Schema: s.refV2(model),
		}}
	}
	o.VendorExtensible = extensions(op)
	return o
}

func (s *schemas) refV2(model string) *spec.Schema {
	s.use(model)
	if model == "" {
		return &spec.Schema{SchemaProps: spec.SchemaProps{Type: []string{"string"}}}
	}
	return &spec.Schema{SchemaProps: spec.SchemaProps{Ref: spec.MustCreateRef(definitionPrefix + model)}}
}

func parametersV2(list []parameter) []spec.Parameter {
	var out []spec.Parameter
	for _, p := range list {
		q := spec.Parameter{
			ParamProps:        spec.ParamProps{Name: p.name, In: p.in, Description: p.about, Required: p.in == "path"},
			SimpleSchema:      spec.SimpleSchema{Type: p.kind},
			CommonValidations: spec.CommonValidations{UniqueItems: true},
		}
		out = append(out, q)
	}
	return out
}
