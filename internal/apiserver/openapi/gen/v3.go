package main

import (
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/kube-openapi/pkg/spec3"
	"k8s.io/kube-openapi/pkg/validation/spec"

	"clipper/internal/scheme"
)

const schemaPrefix = "#/components/schemas/"

// documentV3 is the document of one group version.
func documentV3(t *scheme.Table, gv schema.GroupVersion) *spec3.OpenAPI {
	s := newSchemas(t, schemaPrefix, finishV3)
	paths := map[string]*spec3.Path{}
	for _, r := range routes(t, gv) {
		p := &spec3.Path{PathProps: spec3.PathProps{Parameters: parametersV3(r.parameters)}}
		for _, op := range r.operations {
			o := s.operationV3(op, gv)
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
	return &spec3.OpenAPI{
		Version:    "3.0.0",
		Info:       &spec.Info{InfoProps: spec.InfoProps{Title: "Kubernetes", Version: version}},
		Paths:      &spec3.Paths{Paths: paths},
		Components: &spec3.Components{Schemas: s.used, SecuritySchemes: bearer()},
	}
}

func bearer() spec3.SecuritySchemes {
	return spec3.SecuritySchemes{"BearerToken": {SecuritySchemeProps: spec3.SecuritySchemeProps{
		Type: "apiKey", Name: "authorization", In: "header", Description: "Bearer Token authentication",
	}}}
}

func (s *schemas) operationV3(op operation, gv schema.GroupVersion) *spec3.Operation {
	o := &spec3.Operation{OperationProps: spec3.OperationProps{
		Tags: []string{tag(gv, false)}, Description: op.about, OperationId: op.id, Parameters: parametersV3(op.query),
		Responses: &spec3.Responses{ResponsesProps: spec3.ResponsesProps{StatusCodeResponses: map[int]*spec3.Response{
			401: {ResponseProps: spec3.ResponseProps{Description: "Unauthorized"}},
		}}},
	}}
	if op.body != "" {
		o.RequestBody = &spec3.RequestBody{RequestBodyProps: spec3.RequestBodyProps{
			Required: !op.optional, Content: s.content(op.bodyTypes, op.body),
		}}
	}
	for code, model := range op.answers {
		o.Responses.StatusCodeResponses[code] = &spec3.Response{ResponseProps: spec3.ResponseProps{
			Description: answer[code], Content: s.content(op.types, model),
		}}
	}
	o.VendorExtensible = extensions(op)
	return o
}

var answer = map[int]string{200: "OK", 201: "Created", 202: "Accepted"}

func extensions(op operation) spec.VendorExtensible {
	var e spec.VendorExtensible
	if op.action != "" {
		e.AddExtension(actionExtension, op.action)
	}
	if op.kind.Kind != "" {
		e.AddExtension(kindExtension, extensionOf(op.kind))
	}
	return e
}

func (s *schemas) content(types []string, model string) map[string]*spec3.MediaType {
	s.use(model)
	of := &spec.Schema{SchemaProps: spec.SchemaProps{Type: []string{"string"}}}
	if model != "" {
		of = &spec.Schema{SchemaProps: spec.SchemaProps{Ref: spec.MustCreateRef(schemaPrefix + model)}}
	}
	out := map[string]*spec3.MediaType{}
	for _, t := range types {
		out[t] = &spec3.MediaType{MediaTypeProps: spec3.MediaTypeProps{Schema: of}}
	}
	return out
}

func parametersV3(list []parameter) []*spec3.Parameter {
	var out []*spec3.Parameter
	for _, p := range list {
		out = append(out, &spec3.Parameter{ParameterProps: spec3.ParameterProps{
			Name: p.name, In: p.in, Description: p.about, Required: p.in == "path",
			Schema: &spec.Schema{SchemaProps: spec.SchemaProps{Type: []string{p.kind}, UniqueItems: true}},
		}})
	}
	return out
}
