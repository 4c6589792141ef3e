from escnet.data.layout import class_names, synonyms_in


def test_a_list_of_class_names_is_read_once() -> None:
    assert class_names("ade150") is class_names("ade150")


def test_the_synonyms_of_a_name_are_the_callers_own() -> None:
    synonyms_in("building, edifice").append("house")
    assert synonyms_in("building, edifice") == ["building", "edifice"]
    assert synonyms_in(" ; ") == [" ; "]
