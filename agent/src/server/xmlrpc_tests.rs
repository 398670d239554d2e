use super::*;
use proptest::prelude::*;

fn wrap(value: &str) -> Vec<u8> {
    format!("<?xml version='1.0'?>\n<methodResponse>\n<params>\n<param>\n{value}\n</param>\n</params>\n</methodResponse>\n").into_bytes()
}

fn decode(value: &str) -> Result<Value, String> {
    match decode_answer(&wrap(value))? {
        Answer::Value(value) => Ok(value),
        Answer::Fault(fault) => Err(fault.to_string()),
    }
}

#[test]
fn calls_look_as_the_supervisor_wants_them() {
    assert_eq!(
        encode_call(
            "supervisor.stopProcess",
            &[Value::Str("a<b".into()), Value::Bool(false)]
        ),
        "<?xml version=\"1.0\"?><methodCall><methodName>supervisor.stopProcess</methodName><params>\
         <param><value><string>a&lt;b</string></value></param>\
         <param><value><boolean>0</boolean></value></param></params></methodCall>"
    );
}

#[test]
fn faults_are_values() {
    let body = b"<?xml version='1.0'?><methodResponse><fault><value><struct><member><name>faultCode</name>\
        <value><int>10</int></value></member><member><name>faultString</name><value><string>BAD_NAME: x</string>\
        </value></member></struct></value></fault></methodResponse>";
    let fault = Fault {
        code: Fault::BAD_NAME,
        text: "BAD_NAME: x".into(),
    };
    assert_eq!(decode_answer(body), Ok(Answer::Fault(fault)));
}

#[test]
fn odd_but_legal_forms_are_read() {
    assert_eq!(
        decode("<value>plain &amp; &#65;</value>"),
        Ok(Value::Str("plain & A".into()))
    );
    assert_eq!(decode("<value/>"), Ok(Value::Str(String::new())));
    assert_eq!(
        decode("<value><string/></value>"),
        Ok(Value::Str(String::new()))
    );
    assert_eq!(decode("<value> <int>-3</int> </value>"), Ok(Value::Int(-3)));
    assert_eq!(decode("<value>\n<int>-3</int></value>"), Ok(Value::Int(-3)));
    assert_eq!(
        decode("<value><array><data><value/><value><nil/></value></data></array></value>"),
        Ok(Value::Array(vec![Value::Str(String::new()), Value::Nil]))
    );
}

#[test]
fn what_is_not_xml_rpc_is_refused() {
    for bad in [
        "<value><int>x</int></value>",
        "<value><boolean>2</boolean></value>",
        "<value><what>1</what></value>",
        "<value><string>&boom;</string></value>",
        "<value a='1'></value>",
        "<value><struct><member><name>a</name><value/></member><member><name>a</name><value/></member></struct></value>",
        "<value><string>a</string>b</value>",
    ] {
        assert!(decode(bad).is_err(), "{bad}");
    }
    assert!(decode_answer(b"<!DOCTYPE x [<!ENTITY a 'b'>]><methodResponse/>").is_err());
    assert!(decode_answer(&[wrap("<value/>"), b"<more/>".to_vec()].concat()).is_err());
    assert!(decode_answer(&vec![b' '; MAX_ANSWER + 1]).is_err());
    let deep = "<value><array><data>".repeat(100_000);
    assert!(decode(&deep).unwrap_err().contains("deeper"));
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(Value::Int),
        any::<bool>().prop_map(Value::Bool),
        "[^\\p{Cc}\u{fffe}\u{ffff}]{0,12}|[\r\n\ta&<>\" ]{0,6}".prop_map(Value::Str),
        (-1e9..1e9).prop_map(Value::Double),
        Just(Value::Nil),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::btree_map("[a-z<&]{0,6}", inner, 0..4).prop_map(Value::Struct),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(value in values()) {
        let mut text = String::new();
        encode_value(&mut text, &value);
        prop_assert_eq!(decode(&text), Ok(value));
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode_answer(&bytes);
    }

    #[test]
    fn no_cut_panics(value in values(), cut in 0usize..400) {
        let mut text = String::new();
        encode_value(&mut text, &value);
        let body = wrap(&text);
        let _ = decode_answer(&body[..cut.min(body.len())]);
    }
}
