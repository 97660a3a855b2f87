// Added to Orthanc Explorer's page of a study: its images in the web viewer, and its booking.
(() => {
  const study = () => $.mobile.pageData && $.mobile.pageData.uuid;
  const button = (text, icon, act) => $("<a>").attr({ "data-role": "button", "data-icon": icon, href: "#" }).text(text)
    .click(event => { event.preventDefault(); if (study()) act(study()); });
  const is = async address => (await fetch(address, { method: "HEAD" })).ok;

  const booking = async id => {
    const { MainDicomTags: { StudyDate: date = "" }, PatientMainDicomTags: { PatientID: subject = "" } } =
      await (await fetch(`../studies/${id}`)).json();
    const day = date.replace(/^(\d{4})(\d\d)(\d\d)$/, "../worklist/past/$1-$2-$3.html");
    const recent = Date.now() - Date.parse(date.replace(/^(\d{4})(\d\d)(\d\d)$/, "$1-$2-$3")) < 3 * 86400000;
    if (day !== date && await is(day)) location.href = `${day}#${id}`;
    else location.href = recent ? "../worklist/index.html" : `../worklist/past/index.html#q=${encodeURIComponent(subject)}`;
  };

  $("#study").live("pagebeforecreate", () => {
    const place = $("#study-delete").parent().parent();
    button("Look at all series", "search", id => { location.href = `../studies/${id}/view`; }).insertBefore(place);
    const back = button("Show its booking", "grid", booking).insertBefore(place);
    back.hide(); // a site may have no page
    is("../worklist/past/index.html").then(there => back.toggle(there), () => {});
  });
})();
