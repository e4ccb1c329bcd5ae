package main

import (
	"slices"

	"k8s.io/kube-openapi/pkg/common"
)

// adapter is an operation as kube-openapi's builders want it.
type adapter struct{ *operation }

func (a adapter) Method() string        { return a.method }
func (a adapter) Path() string          { return a.path }
func (a adapter) OperationName() string { return a.id }
func (a adapter) Description() string   { return a.about }
func (a adapter) Produces() []string    { return a.types }

func (a adapter) Consumes() []string { return a.bodyTypes }

func (a adapter) Parameters() []common.Parameter {
	var out []common.Parameter
	for _, p := range a.params {
		out = append(out, parameterAdapter{parameter: p})
	}
	if a.body != nil {
		out = append(out, parameterAdapter{parameter: parameter{name: "body"}, required: !a.optional})
	}
	return out
}

func (a adapter) Metadata() map[string]any {
	out := map[string]any{}
	if a.action != "" {
		out[actionExtension] = a.action
	}
	if a.kind.Kind != "" {
		out[kindExtension] = extensionOf(a.kind)
	}
	return out
}

func (a adapter) RequestPayloadSample() any  { return a.body }
func (a adapter) ResponsePayloadSample() any { return nil }

func (a adapter) StatusCodeResponses() []common.StatusCodeResponse {
	var out []common.StatusCodeResponse
	for code, model := range a.answers {
		out = append(out, answer{code, model})
	}
	slices.SortFunc(out, func(a, b common.StatusCodeResponse) int { return a.Code() - b.Code() })
	return out
}

type answer struct {
	code  int
	model any
}

func (a answer) Code() int       { return a.code }
func (a answer) Message() string { return answerTexts[a.code] }
func (a answer) Model() any      { return a.model }

var answerTexts = map[int]string{200: "OK", 201: "Created", 202: "Accepted"}

// parameterAdapter is a parameter as the builders want it; one without a place
// is the body.
type parameterAdapter struct {
	parameter
	required bool
}

func (p parameterAdapter) Name() string        { return p.name }
func (p parameterAdapter) Description() string { return p.about }
func (p parameterAdapter) Required() bool      { return p.required || p.in == "path" }
func (p parameterAdapter) DataType() string    { return p.parameter.kind }
func (p parameterAdapter) AllowMultiple() bool { return false }

func (p parameterAdapter) Kind() common.ParameterKind {
	switch p.in {
	case "path":
		return common.PathParameterKind
	case "query":
		return common.QueryParameterKind
	}
	return common.BodyParameterKind
}

// container holds the operations of documents.
type container struct{ documents []document }

func (container) RootPath() string                   { return "/" }
func (container) PathParameters() []common.Parameter { return nil }

func (c container) Routes() []common.Route {
	var out []common.Route
	for _, d := range c.documents {
		for i := range d.operations {
			out = append(out, adapter{&d.operations[i]})
		}
	}
	return out
}

func operationID(r common.Route) (string, []string, error) {
	a := r.(adapter)
	return a.id, []string{a.tag}, nil
}
