//go:build cgo

package duck

import "strings"

// rule checks one field of a node.
type rule func(w *walk, v any, s *scope) error

// shape says what the fields of a kind of node are. A field that is not named is
// one that we do not know, and refused.
type shape struct {
	types  string // that it may have, separated by spaces
	fields map[string]rule
}

// rules are all nodes of the engine's syntax tree that a statement may have, as
// json_serialize_sql writes them.
type rules struct {
	expressions, tables, queries, modifiers map[string]shape
}

func newRules() *rules {
	return &rules{expressions: expressionRules(), tables: tableRules(), queries: queryRules(), modifiers: modifierRules()}
}

// fields makes a list of fields: those named in plain are of no consequence.
func fields(plain string, more map[string]rule) map[string]rule {
	for _, name := range strings.Fields(plain) {
		more[name] = anything
	}
	return more
}

func expressionRules() map[string]shape {
	const common = "class type alias query_location "
	one, many := rule((*walk).expression), each((*walk).expression)
	operators := "OPERATOR_NOT OPERATOR_IS_NULL OPERATOR_IS_NOT_NULL OPERATOR_COALESCE OPERATOR_NULLIF OPERATOR_UNPACK OPERATOR_TRY " +
		"COMPARE_IN COMPARE_NOT_IN ARRAY_EXTRACT ARRAY_SLICE STRUCT_EXTRACT ARRAY_CONSTRUCTOR GROUPING_FUNCTION"
	comparisons := "COMPARE_EQUAL COMPARE_NOTEQUAL COMPARE_LESSTHAN COMPARE_GREATERTHAN COMPARE_LESSTHANOREQUALTO " +
		"COMPARE_GREATERTHANOREQUALTO COMPARE_DISTINCT_FROM COMPARE_NOT_DISTINCT_FROM"
	windows := "WINDOW_AGGREGATE WINDOW_RANK WINDOW_RANK_DENSE WINDOW_NTILE WINDOW_PERCENT_RANK WINDOW_CUME_DIST WINDOW_ROW_NUMBER " +
		"WINDOW_FIRST_VALUE WINDOW_LAST_VALUE WINDOW_LEAD WINDOW_LAG WINDOW_NTH_VALUE WINDOW_FILL"
	return map[string]shape{
		"BETWEEN":              {"COMPARE_BETWEEN COMPARE_NOT_BETWEEN", fields(common, map[string]rule{"input": one, "lower": one, "upper": one})},
		"CASE":                 {"CASE_EXPR", fields(common, map[string]rule{"case_checks": each((*walk).check), "else_expr": one})},
		"CAST":                 {"OPERATOR_CAST", fields(common+"try_cast", map[string]rule{"child": one, "cast_type": (*walk).typed})},
		"COLLATE":              {"COLLATE", fields(common, map[string]rule{"child": one, "collation": (*walk).name})},
		"COLUMN_REF":           {"COLUMN_REF", fields(common+"column_names", map[string]rule{})},
		"COMPARISON":           {comparisons, fields(common, map[string]rule{"left": one, "right": one})},
		"CONJUNCTION":          {"CONJUNCTION_AND CONJUNCTION_OR", fields(common, map[string]rule{"children": many})},
		"CONSTANT":             {"VALUE_CONSTANT", fields(common+"value", map[string]rule{})},
		"FUNCTION":             {"FUNCTION", fields(common+"distinct is_operator", functionFields(one, many))},
		"LAMBDA":               {"LAMBDA", fields(common+"syntax_type", map[string]rule{"lhs": one, "expr": one})},
		"OPERATOR":             {operators, fields(common, map[string]rule{"children": many})},
		"POSITIONAL_REFERENCE": {"POSITIONAL_REFERENCE", fields(common+"index", map[string]rule{})},
		"STAR": {"STAR", fields(common+"relation_name exclude_list qualified_exclude_list rename_list columns",
			map[string]rule{"replace_list": each((*walk).replaced), "expr": one})},
		"SUBQUERY": {"SUBQUERY", fields(common+"subquery_type comparison_type", map[string]rule{"subquery": (*walk).query, "child": one})},
		"WINDOW": {windows, fields(common+"start end exclude_clause ignore_nulls distinct", map[string]rule{
			"function_name": (*walk).function, "schema": (*walk).schema, "catalog": (*walk).catalog, "children": many,
			"partitions": many, "orders": each((*walk).order), "arg_orders": each((*walk).order), "filter_expr": one,
			"start_expr": one, "end_expr": one, "offset_expr": (*walk).distance, "default_expr": one})},
	}
}

func functionFields(one, many rule) map[string]rule {
	return map[string]rule{"function_name": (*walk).function, "schema": (*walk).schema, "catalog": (*walk).catalog,
		"children": many, "filter": one, "order_bys": (*walk).modifier, "export_state": isFalse}
}

func tableRules() map[string]shape {
	const common = "type alias query_location sample "
	one, many, table := rule((*walk).expression), each((*walk).expression), rule((*walk).table)
	return map[string]shape{
		"EMPTY": {"EMPTY", fields(common, map[string]rule{})},
		// The names of a BASE_TABLE and of a SHOW_REF are checked together.
		"BASE_TABLE": {"BASE_TABLE", fields(common+"catalog_name schema_name table_name column_name_alias", map[string]rule{"at_clause": isNothing})},
		"SHOW_REF":   {"SHOW_REF", fields(common+"catalog_name schema_name table_name show_type", map[string]rule{"query": (*walk).node})},
		"SUBQUERY":   {"SUBQUERY", fields(common+"column_name_alias", map[string]rule{"subquery": (*walk).query})},
		"JOIN": {"JOIN", fields(common+"join_type ref_type using_columns delim_flipped",
			map[string]rule{"left": table, "right": table, "condition": one, "duplicate_eliminated_columns": many})},
		"TABLE_FUNCTION":  {"TABLE_FUNCTION", fields(common+"column_name_alias with_ordinality", map[string]rule{"function": (*walk).tableFunction})},
		"EXPRESSION_LIST": {"EXPRESSION_LIST", fields(common+"expected_names", map[string]rule{"values": each(many), "expected_types": isNothing})},
		"PIVOT": {"PIVOT", fields(common+"column_name_alias unpivot_names groups include_nulls",
			map[string]rule{"source": table, "aggregates": many, "pivots": each((*walk).pivot)})},
	}
}

func queryRules() map[string]shape {
	one, many, node := rule((*walk).expression), each((*walk).expression), rule((*walk).node)
	common := func(more map[string]rule) map[string]rule {
		more["modifiers"], more["cte_map"] = each((*walk).modifier), anything // which was looked at before
		return more
	}
	return map[string]shape{
		"SELECT_NODE": {"SELECT_NODE", fields("type aggregate_handling group_sets sample", common(map[string]rule{
			"select_list": many, "from_table": (*walk).table, "where_clause": one, "group_expressions": many, "having": one, "qualify": one}))},
		"SET_OPERATION_NODE": {"SET_OPERATION_NODE", fields("type setop_type setop_all", common(map[string]rule{
			"left": node, "right": node, "children": each(node)}))},
		"RECURSIVE_CTE_NODE": {"RECURSIVE_CTE_NODE", fields("type union_all cte_name aliases", common(map[string]rule{
			"left": node, "right": (*walk).recursion, "key_targets": many}))},
	}
}

func modifierRules() map[string]shape {
	limit := map[string]rule{"limit": (*walk).expression, "offset": (*walk).expression}
	return map[string]shape{
		"ORDER_MODIFIER":         {"ORDER_MODIFIER", fields("type", map[string]rule{"orders": each((*walk).order)})},
		"LIMIT_MODIFIER":         {"LIMIT_MODIFIER", fields("type", limit)},
		"LIMIT_PERCENT_MODIFIER": {"LIMIT_PERCENT_MODIFIER", fields("type", limit)},
		"DISTINCT_MODIFIER":      {"DISTINCT_MODIFIER", fields("type", map[string]rule{"distinct_on_targets": each((*walk).expression)})},
	}
}
